"""Time the final networks of a seed beside the dense one, at two batch sizes."""

from dataclasses import replace

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from functools import partial
    from pathlib import Path

    from prune3d.models.checkpoint import load, unreachable_reason
    from prune3d.pruning.realized import realized
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
    finals = [final_of(path) for path in job.input.finals]
    judged = [TEST.read(job.input.test)]
    judged += [read_metrics(path, final=True).get("test") for path in job.input.metrics]
    networks = [(None, "dense", job.input.dense)]
    networks += [(f.budget, f.policy, p) for f, p in zip(finals, job.input.finals, strict=True)]
    there = [
        (*network, test)
        for network, test in zip(networks, judged, strict=True)
        if unreachable_reason(network[2]) is None
    ]
    own = job.params["own_network"]
    timed = [
        Network(partial(load, path, device, own), Path(path).stat().st_size / 1e6)
        for _, _, path, _ in there
    ]
    taken = {}
    for name, size in sizes.items():
        taken[name] = latencies_in_turns(timed, replace(options, batch_size=size))
        job.say(f"{len(timed)} networks are timed with batches of {size}")
    rows = []
    for place, (budget, policy, _, test) in enumerate(there):
        known = realized(timed[place].load())
        times = {name: values[place] for name, values in taken.items()}
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
    TIMED.write(job.output[0], rows)
