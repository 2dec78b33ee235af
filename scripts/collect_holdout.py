"""Gather the accuracies of the held-out samples."""

from prune3d.sampling.table import COLUMNS, sample_row
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import read_json, write_csv

    pairs = zip(job.params["samples"], job.input.samples, strict=True)
    rows = [sample_row(name, read_json(file)) for name, file in pairs]
    write_csv(job.output[0], rows, COLUMNS)
    job.say(f"{len(rows)} held-out samples")
