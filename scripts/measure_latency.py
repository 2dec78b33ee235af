"""Measure how long networks pruned to a grid take on this device."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure_file import read_removal_order, read_structure
    from prune3d.models.checkpoint import load
    from prune3d.pruning.dense import keep_layers
    from prune3d.pruning.latency import LATENCIES, LatencyTable, measure_table
    from prune3d.pruning.timing import LatencyOptions

    structure = read_structure(job.input.structure)
    options = job.read(LatencyOptions)
    device = job.device(only_cpu="cpu" in (job.params["device"], options.runs_on))
    model = load(job.input.model, device, job.params["own_network"])
    keep_layers(model, job.params["keep"] or ())
    rows = measure_table(
        model,
        read_removal_order(job.optional_input("blocks"), structure),
        structure.blocks,
        structure.sides,
        job.setting("round_to"),
        options,
        job.say,
    )
    LATENCIES.write(job.output[0], rows)
    table = LatencyTable.from_rows(rows)
    job.say(f"{len(rows)} latencies on {table.device}, interpolation off by {table.error:.1%}")
