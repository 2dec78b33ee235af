"""Fine-tune the dense network as final networks are, to tell whether its training was enough."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load
    from prune3d.workflow.session import Session

    session = Session(job, stage="dense_longer")
    model = load(job.input.model, code=job.params["own_network"])
    session.train(model, "final")
    session.write_metrics(model)
    job.write_provenance(job.output.provenance, seconds=session.seconds)
