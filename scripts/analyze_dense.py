"""Rank the blocks of the dense network and write down what of it can be pruned, at what cost."""

from prune3d.job import Job
from prune3d.pruning.options import PruningOptions

with Job(snakemake) as job:
    from prune3d.checkpoint import load
    from prune3d.data.images import load_splits
    from prune3d.files import write_json
    from prune3d.lineage import bill, get_lineage, name_stage
    from prune3d.pruning.analyze import analyze
    from prune3d.pruning.joint import order_blocks

    device = job.device()
    options = PruningOptions(
        block_criterion=job.params["block_criterion"],
        probe_images=job.params["probe_images"],
        seed=job.seed("pruning"),
    )
    model = load(job.input.model, device)
    order = order_blocks(
        model, options, load_splits(job.input.train, job.input.selection).to(device)
    )
    name_stage(model, "analyze")
    structure = analyze(model, order, job.params["side_step"])
    write_json(
        job.output.structure,
        {**structure.to_dict(), "cost": bill(get_lineage(model), "analyze")},
    )
    job.say(f"order of removal: {', '.join(order) or 'no block can be removed'}")
