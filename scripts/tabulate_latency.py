"""Put the latencies of all final networks side by side."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_text
    from prune3d.report.latencies import SUMMARY, mixing, read_timed, readable, summarize

    timed = read_timed(job.input)
    summary = summarize(timed)
    SUMMARY.write(job.output.csv, summary)
    write_text(job.output.md, readable(summary, mixing(timed)))
