"""Rank the blocks of the dense network, the least important first."""

from prune3d.pruning.options import PruningOptions
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure_file import BLOCKS
    from prune3d.data.images import load_splits
    from prune3d.models.checkpoint import load
    from prune3d.models.lineage import bill, get_lineage, name_stage
    from prune3d.pruning.dense import keep_layers
    from prune3d.pruning.depth import order_blocks

    device = job.device()
    options = job.read(PruningOptions, seed=job.seed("pruning"))
    model = load(job.input.model, device, job.params["own_network"])
    keep_layers(model, options.keep)
    images = load_splits(job.input.train, job.input.selection)
    probe = images.probe(options.probe_images, options.seed).with_batches_on(device)
    order = order_blocks(model, options, probe)
    name_stage(model, job.rule)
    BLOCKS.write(job.output.blocks, {"removal_order": order, **bill(get_lineage(model), job.rule)})
    job.write_provenance(job.output.provenance)
    job.say(f"order of removal: {', '.join(order) or 'no block can be removed'}")
