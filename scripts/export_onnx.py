"""Export a final network to ONNX and check it against the original."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.export import ExportError, export, export_unreachable
    from prune3d.models.checkpoint import load, unreachable_reason

    reason = unreachable_reason(job.input.model)
    if reason is None:
        try:
            network = load(job.input.model, code=job.params["own_network"])
            difference = export(network, job.output[0])
        except ExportError as error:
            # The pruned network itself is there: the run goes on without this file.
            export_unreachable(job.output[0], str(error))
            job.say(f"without an ONNX file: {error}")
        else:
            job.say(f"largest difference of the outputs from the original's: {difference:.1e}")
    else:
        export_unreachable(job.output[0], reason)
