"""Draw accuracy against MACs of all policies."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.figures import Style, draw_policies
    from prune3d.report.policies import POLICIES
    from prune3d.report.warnings import WARNINGS

    style = job.read(Style)
    notes = [row["warning"] for row in WARNINGS.read(job.input.warnings)]
    style.save(draw_policies(POLICIES.read(job.input.table), style, notes), job.output)
