"""Write the card of a final network: what it is, and how it is used."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_text
    from prune3d.report.delivery import Files, card_of
    from prune3d.report.latencies import timing_of
    from prune3d.sampling.metrics_file import read_metrics

    made_by = (
        "Made in the experiment {experiment}, seed {seed}, for the budget {budget} by the policy "
        "{policy}; provenance.json has versions, settings and seconds."
    ).format(**dict(job.wildcards.items()))
    metrics = read_metrics(job.input.metrics, final=True)
    timed = job.optional_input("timed") if metrics.get("unreachable") is None else None
    card = card_of(
        job.input.model,
        metrics,
        Files(job.input.onnx, job.input.pictures, job.optional_input("program")),
        licence=job.params["licence"],
        made_by=made_by,
        timing=timing_of(timed, job.wildcards.budget, job.wildcards.policy) if timed else None,
    )
    write_text(job.output[0], card)
