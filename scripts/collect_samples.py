"""Gather the accuracies of the samples to fit, the dense network's first."""

from prune3d.sampling.table import COLUMNS, sample_row
from prune3d.sampling.tree import DENSE
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import read_json, write_csv

    names = [DENSE.name, *job.params["samples"]]
    files = [job.input.dense, *job.input.samples]
    rows = [sample_row(name, read_json(file)) for name, file in zip(names, files, strict=True)]
    write_csv(job.output[0], rows, COLUMNS)
    job.say(f"{len(rows)} samples")
