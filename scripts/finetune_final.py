"""Fine-tune the final network of a policy."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load, unreachable_reason
    from prune3d.models.lineage import get_lineage
    from prune3d.workflow.session import Session
    from prune3d.workflow.trained_part import trained_part

    session = Session(job, stage=f"{job.wildcards.budget}/{job.wildcards.policy}")
    reason = unreachable_reason(job.input.pruned)
    if reason is None:
        model, *others = (
            load(path, code=job.params["own_network"])
            for path in (job.input.pruned, *job.input.finetuned)
        )
        paid = [step for other in others for step in get_lineage(other)]
        session.train(model, "final", trained_part(job.params, model, paid), is_judged=True)
    else:
        session.write_unreachable(reason)
    job.write_provenance(
        job.output.provenance,
        seconds=session.seconds,
        earlier={"prune_final": job.input.provenance},
    )
