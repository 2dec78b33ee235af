"""Sum up what the jobs used, and why some were made again."""

from pathlib import Path

from prune3d.report.resources import COLUMNS, RETRY_COLUMNS, failures, in_words, summarize
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_csv

    failed = failures(Path("results/logs"), running=Path(snakemake.log[0]))
    write_csv(job.output.retries, failed, RETRY_COLUMNS)
    write_csv(job.output.resources, summarize(Path("results/benchmarks"), failed), COLUMNS)
    job.say(in_words(failed))
