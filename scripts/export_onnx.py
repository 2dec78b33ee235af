"""Export a final network to ONNX and check it against the original."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load, unreachable_reason
    from prune3d.report.delivery import Files, write_nothing, write_onnx

    files = Files(job.output.onnx, job.output.pictures)
    reason = unreachable_reason(job.input.model)
    if reason is None:
        model = load(job.input.model, code=job.params["own_network"])
        # What cannot be written is told there: the run goes on without it.
        for name, why in write_onnx(model, files).items():
            job.say(f"without {name}: {why}")
    else:
        write_nothing(reason, files)
