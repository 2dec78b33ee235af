"""Gather the accuracies of the held-out samples."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.sampling.table import HOLDOUT, gather

    rows = gather(job.params["samples"], job.input.samples)
    HOLDOUT.write(job.output[0], rows)
    job.say(f"{len(rows)} held-out samples")
