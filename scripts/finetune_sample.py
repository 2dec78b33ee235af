"""Fine-tune a network of the sampling tree and judge it on the selection images."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load
    from prune3d.workflow.session import Session

    session = Session(job, stage=job.wildcards.point)
    model = load(job.input.pruned, code=job.params["own_network"])
    session.train(model, "finetune")
    session.write_metrics(model)
    pruning = job.input.provenance
    job.write_provenance(
        job.output.provenance,
        seconds=session.seconds,
        earlier={"prune_sample": pruning} if pruning else None,
    )
