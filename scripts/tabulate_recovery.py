"""Tell how accuracy comes back while the final networks are fine-tuned."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_text
    from prune3d.report.recovery import RECOVERY, readable, recovery_rows

    rows = recovery_rows(job.input.histories, job.input.metrics)
    RECOVERY.write(job.output.csv, rows)
    write_text(job.output.md, readable(rows))
