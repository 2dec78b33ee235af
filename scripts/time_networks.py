"""Time the final networks of a seed beside the dense one, at two batch sizes."""

from dataclasses import replace

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import load, unreachable_reason
    from prune3d.pruning.realized import realized
    from prune3d.pruning.timing import LatencyOptions, latency_of, where_measured
    from prune3d.report.latencies import TIMED
    from prune3d.sampling.metrics_file import TEST, read_metrics
    from prune3d.workflow.paths import final_of

    options = job.read(LatencyOptions)
    device = job.device(only_cpu="cpu" in (job.params["device"], options.runs_on))
    sizes = {
        "latency_ms": options.batch_size,
        "throughput_ms": job.params["throughput_batch_size"],
    }
    finals = [final_of(path) for path in job.input.finals]
    judged = [TEST.read(job.input.test)]
    judged += [read_metrics(path, final=True).get("test") for path in job.input.metrics]
    networks = [(None, "dense", job.input.dense)]
    networks += [(f.budget, f.policy, p) for f, p in zip(finals, job.input.finals, strict=True)]
    rows = []
    for (budget, policy, path), test in zip(networks, judged, strict=True):
        if unreachable_reason(path) is not None:
            continue
        model = load(path, device, job.params["own_network"])
        known = realized(model)
        times = {n: latency_of(model, replace(options, batch_size=b)) for n, b in sizes.items()}
        rows.append(
            {
                "experiment": job.wildcards.experiment,
                "seed": int(job.wildcards.seed),
                "budget": budget,
                "policy": policy,
                "macs_ratio": known["macs_ratio"],
                "params": known["params"],
                "test_top1": test["top1"],
                **times,
                "batch_size": options.batch_size,
                "throughput_batch_size": sizes["throughput_ms"],
                **where_measured(options, device),
            }
        )
        job.say(f"{budget or ''} {policy}: {times['latency_ms']:.3g} ms")
    TIMED.write(job.output[0], rows)
