"""Draw accuracy against MACs of all policies."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import read_csv
    from prune3d.report.figures import Style, draw_policies

    style = job.read(Style)
    notes = [row["warning"] for row in read_csv(job.input.warnings)]
    style.save(draw_policies(read_csv(job.input.table), style, notes), job.output)
