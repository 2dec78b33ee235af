"""Measure how long networks pruned to a grid take on this device."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure import Structure
    from prune3d.files import read_json, write_csv
    from prune3d.models.checkpoint import load
    from prune3d.optimize.policies import read_removal_order
    from prune3d.pruning.latency import COLUMNS, LatencyOptions, LatencyTable, measure_table

    structure = Structure.from_dict(read_json(job.input.structure))
    device = job.device(only_cpu=job.params["device"] == "cpu")
    rows = measure_table(
        load(job.input.model, device, job.params["own_network"]),
        read_removal_order(job.input.get("blocks")),
        structure.blocks,
        structure.sides,
        job.params["round_to"],
        job.read(LatencyOptions),
        job.say,
    )
    write_csv(job.output[0], rows, COLUMNS)
    table = LatencyTable.from_rows(rows)
    job.say(f"{len(rows)} latencies on {table.device}, interpolation off by {table.error:.1%}")
