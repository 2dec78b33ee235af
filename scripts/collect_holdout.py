"""Gather the accuracies of the held-out samples."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.sampling.table import HOLDOUT, first_of_each, gather

    made = gather(job.params["samples"], job.input.samples)
    rows = first_of_each(made)
    HOLDOUT.write(job.output[0], rows)
    job.say(f"{len(rows)} held-out samples, {len(made) - len(rows)} more are the same networks")
