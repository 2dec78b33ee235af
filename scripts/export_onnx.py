"""Export a final network to ONNX, check it against the original, and write its card."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load, unreachable_reason
    from prune3d.report.delivery import Files, deliver, deliver_nothing
    from prune3d.sampling.metrics_file import read_metrics

    program = job.optional_input("program")
    files = Files(job.output.onnx, job.output.pictures, job.output.card, program)
    reason = unreachable_reason(job.input.model)
    if reason is None:
        made_by = (
            "Made in the experiment {experiment}, seed {seed}, for the budget {budget} by the "
            "policy {policy}; provenance.json has versions, settings and seconds."
        ).format(**dict(job.wildcards.items()))
        model = load(job.input.model, code=job.params["own_network"])
        judged = read_metrics(job.input.metrics, final=True)["test"]
        # What cannot be written is told there: the run goes on without it.
        lacks = deliver(model, judged, made_by, job.params["licence"], files)
        for name, why in lacks.items():
            job.say(f"without {name}: {why}")
    else:
        deliver_nothing(reason, files)
