"""Gather the accuracies of the samples to fit, the dense network's first."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.sampling.table import SAMPLES, gather
    from prune3d.sampling.tree import DENSE

    names = [DENSE.name, *job.params["samples"]]
    rows = gather(names, [job.input.dense, *job.input.samples])
    SAMPLES.write(job.output[0], rows)
    job.say(f"{len(rows)} samples")
