"""Gather the accuracies of the samples to fit, that of the dense network, fine-tuned, first."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.sampling.table import SAMPLES, gather

    rows = gather(job.params["samples"], job.input.samples)
    SAMPLES.write(job.output[0], rows)
    job.say(f"{len(rows)} samples")
