"""Train the network of a sample from scratch, as the dense network was, and judge it."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load
    from prune3d.models.fresh import initialize
    from prune3d.workflow.session import Session

    session = Session(job, stage=f"scratch/{job.wildcards.point}")
    model = load(job.input.pruned, code=job.params["own_network"])
    initialize(model, job.seed("initialization", job.wildcards.point))
    session.train(model, "dense")
    session.write_metrics(model)
    job.write_provenance(job.output.provenance, seconds=session.seconds)
