"""Time the final networks of a seed beside the dense one, at two batch sizes."""

from dataclasses import replace

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from functools import partial
    from pathlib import Path

    from prune3d.costs.count import cost
    from prune3d.models.checkpoint import load
    from prune3d.pruning.timing import LatencyOptions, Network, latencies_in_turns, where_measured
    from prune3d.report.latencies import TIMED
    from prune3d.sampling.metrics_file import TEST, read_metrics
    from prune3d.workflow.paths import final_of

    options = job.read(LatencyOptions)
    device = job.device(only_cpu="cpu" in (job.params["device"], options.runs_on))
    sizes = {
        "latency_ms": options.batch_size,
        "throughput_ms": job.params["throughput_batch_size"],
    }
    own = job.params["own_network"]
    params = cost(load(job.input.dense, device, own)).params
    dense = {"macs_ratio": 1.0, "params": params, "test": TEST.read(job.input.test)}
    there = [(None, "dense", job.input.dense, dense)]
    for path, metrics in zip(job.input.finals, job.input.metrics, strict=True):
        final, known = final_of(path), read_metrics(metrics, final=True)
        if known.get("unreachable") is None:
            there.append((final.budget, final.policy, path, known))
    timed = [
        Network(partial(load, path, device, own), Path(path).stat().st_size / 1e6)
        for _, _, path, _ in there
    ]
    taken = {}
    for name, size in sizes.items():
        taken[name] = latencies_in_turns(timed, replace(options, batch_size=size))
        job.say(f"{len(timed)} networks are timed with batches of {size}")
    rows = []
    for place, (budget, policy, _, known) in enumerate(there):
        times = {name: values[place] for name, values in taken.items()}
        rows.append(
            {
                "experiment": job.wildcards.experiment,
                "seed": int(job.wildcards.seed),
                "budget": budget,
                "policy": policy,
                "macs_ratio": known["macs_ratio"],
                "params": known["params"],
                "test_top1": known["test"]["top1"],
                **times,
                "batch_size": options.batch_size,
                "throughput_batch_size": sizes["throughput_ms"],
                **where_measured(options, device),
            }
        )
    TIMED.write(job.output[0], rows)
