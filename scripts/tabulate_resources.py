"""Sum up what the jobs of the run used, and why some were made again."""

from pathlib import Path

from prune3d.report.resources import COLUMNS, RETRY_COLUMNS, failures, in_words, summarize
from prune3d.workflow.job import Job
from prune3d.workflow.paths import log_of

with Job(snakemake) as job:
    from prune3d.files import write_csv

    own = Path(snakemake.log[0])
    failed = failures([*map(log_of, job.input), own], running=own)
    write_csv(job.output.retries, failed, RETRY_COLUMNS)
    write_csv(job.output.resources, summarize(job.input, failed), COLUMNS)
    job.say(in_words(failed))
