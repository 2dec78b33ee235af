"""Gather the accuracies of all samples of one run in a table."""

from prune3d.job import Job
from prune3d.samples import COLUMNS, sample_row

with Job(snakemake) as job:
    from prune3d.files import read_json, write_csv

    names = ["d100_w100_r100", *job.params["samples"]]
    files = [job.input.dense, *job.input.samples]
    rows = [
        sample_row(name, "holdout" if name in job.params["holdout"] else "fit", read_json(file))
        for name, file in zip(names, files, strict=True)
    ]
    write_csv(job.output[0], rows, COLUMNS)
    job.say(f"{len(rows)} samples")
