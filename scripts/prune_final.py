"""Prune the dense network to a policy's target and check that it costs what was composed."""

from dataclasses import replace

from prune3d.pruning import PruningOptions, prune
from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure_file import read_removal_order
    from prune3d.data.images import load_splits
    from prune3d.models.checkpoint import load, save, save_unreachable
    from prune3d.models.lineage import name_stage
    from prune3d.optimize.policies import check_delivered
    from prune3d.optimize.target_file import read_target

    target = read_target(job.input.target, job.wildcards.policy)
    if target.get("unreachable"):
        save_unreachable(job.output.pruned, target["unreachable"])
        job.say(f"left out: {target['unreachable']}")
    else:
        device = job.device()
        options = replace(job.read(PruningOptions), seed=job.seed("pruning"))
        images = load_splits(job.input.train, job.input.selection)
        pruned = prune(
            load(job.input.dense, device, job.params["own_network"]),
            target["depth"],
            target["width_asked"],
            target["resolution"],
            options=options,
            images=images.probe(options.probe_images, options.seed).to(device),
            removal_order=read_removal_order(job.input.get("blocks")),
        )
        check_delivered(pruned, target)
        name_stage(pruned, f"{job.wildcards.budget}/{job.wildcards.policy}")
        save(pruned, job.output.pruned)
    job.write_provenance(job.output.provenance)
