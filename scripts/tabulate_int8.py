"""Put all final networks in 8-bit integers beside those in floats."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_text
    from prune3d.report.int8 import SUMMARY, readable, summarize

    summary = summarize(job.input)
    SUMMARY.write(job.output.csv, summary)
    write_text(job.output.md, readable(summary))
