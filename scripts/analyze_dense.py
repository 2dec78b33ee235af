"""Write down what of the dense network can be pruned, and what each layer costs."""

from prune3d.job import Job

with Job(snakemake) as job:
    from prune3d.checkpoint import load
    from prune3d.files import write_json
    from prune3d.pruning.analyze import analyze

    write_json(job.output[0], analyze(load(job.input.model)).to_dict())
