"""Draw accuracy over the epochs of fine-tuning."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.figures import Style
    from prune3d.report.policy_figures import draw_recovery
    from prune3d.report.recovery import RECOVERY

    style = job.read(Style)
    experiment = job.wildcards.experiment
    rows = [row for row in RECOVERY.read(job.input[0]) if row["experiment"] == experiment]
    style.save(draw_recovery(rows, style), job.output)
