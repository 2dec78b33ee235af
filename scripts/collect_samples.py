"""Gather the accuracies of the samples to fit, that of the dense network, fine-tuned, first."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.sampling.table import SAMPLES, first_of_each, gather

    made = gather(job.params["samples"], job.input.samples)
    rows = first_of_each(made)
    SAMPLES.write(job.output[0], rows)
    job.say(f"{len(rows)} samples, {len(made) - len(rows)} more are the same networks")
