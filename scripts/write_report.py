"""Write the text that opens the report, and its tables as pages."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.written import write_report

    write_report(job.input, job.output, job.params["networks"], job.config)
