"""Export a final network to ONNX and check it against the original."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.export import export, export_unreachable
    from prune3d.models.checkpoint import load, unreachable_reason

    reason = unreachable_reason(job.input.model)
    if reason is None:
        difference = export(load(job.input.model, code=job.params["own_network"]), job.output[0])
        job.say(f"largest difference of the outputs from the original's: {difference:.1e}")
    else:
        export_unreachable(job.output[0], reason)
