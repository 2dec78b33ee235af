"""Train the network of a sample from scratch, as the dense network was, and judge it."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load
    from prune3d.models.lineage import set_lineage
    from prune3d.workflow.session import Session

    session = Session(job, stage=f"scratch/{job.wildcards.point}")
    model = load(job.input.pruned, code=job.params["own_network"])
    session.seed_initialization()
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    set_lineage(model, ())
    session.train(model, "dense")
    session.write_metrics(model)
    job.write_provenance(job.output.provenance, seconds=session.seconds)
