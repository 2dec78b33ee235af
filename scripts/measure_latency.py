"""Measure how long networks pruned to a grid take on this device."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure_file import read_removal_order, read_structure
    from prune3d.costs.work import Work
    from prune3d.models.checkpoint import load
    from prune3d.pruning.dense import keep_layers
    from prune3d.pruning.latency import LATENCIES, LatencyTable, measure_table
    from prune3d.pruning.timing import LatencyOptions

    structure = read_structure(job.input.structure)
    options = job.read(LatencyOptions)
    device = job.device(only_cpu="cpu" in (job.params["device"], options.runs_on))
    model = load(job.input.model, device, job.params["own_network"])
    keep_layers(model, job.params["keep"] or ())
    order = read_removal_order(job.optional_input("blocks"), structure)
    round_to = job.setting("round_to")
    rows = measure_table(
        model, order, structure.blocks, structure.sides, round_to, options, job.say
    )
    LATENCIES.write(job.output[0], rows)
    table = LatencyTable.from_rows(rows, Work(structure, order, round_to))
    job.say(f"{len(rows)} latencies on {table.device}, others are foretold to {table.error:.1%}")
