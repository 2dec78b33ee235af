"""Prune the parent of a sample to the sample's ratios."""

from prune3d.pruning import PruningOptions, prune
from prune3d.sampling.tree import AXES
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.data.images import load_splits
    from prune3d.models.checkpoint import load, save
    from prune3d.models.lineage import name_stage
    from prune3d.workflow.config import check_structure
    from prune3d.workflow.sampling import ratios_in

    ratios = [job.params[axis] for axis in AXES]
    for structure in job.input.structure:
        prunable = check_structure(job, structure)
        if job.params["stretched"]:
            ratios = ratios_in(prunable, ratios, job.params["stretched"])

    device = job.device()
    options = job.read(PruningOptions, seed=job.seed("pruning"))
    images = load_splits(job.input.train, job.input.selection)
    pruned = prune(
        load(job.input.parent, device, job.params["own_network"]),
        *ratios,
        options=options,
        images=images.probe(options.probe_images, options.seed).with_batches_on(device),
    )
    name_stage(pruned, job.wildcards.point)
    save(pruned, job.output.pruned)
    job.write_provenance(job.output.provenance)
