"""Write a final network as a program of torch.export, or why there is none."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.export import ExportError
    from prune3d.export.program import export_program, write_reason
    from prune3d.models.checkpoint import load, unreachable_reason

    reason = unreachable_reason(job.input.model)
    if reason is None:
        try:
            export_program(load(job.input.model, code=job.params["own_network"]), job.output[0])
        except ExportError as error:
            reason = str(error)
            job.say(f"without model.pt2: {reason}")
    if reason is not None:
        write_reason(job.output[0], reason)
