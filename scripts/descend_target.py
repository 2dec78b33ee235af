"""Choose what a policy prunes to that judges networks on its way, before they are fine-tuned."""

from dataclasses import replace

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.costs.structure_file import read_removal_order
    from prune3d.data.images import load_splits
    from prune3d.models.checkpoint import load
    from prune3d.optimize import Budget
    from prune3d.optimize.policies import LatticeOptions, read_candidates
    from prune3d.optimize.registry import POLICIES
    from prune3d.optimize.rivals import Question, rival_target
    from prune3d.optimize.target_file import TARGET
    from prune3d.pruning.one_shot import OneShot
    from prune3d.pruning.options import PruningOptions

    policy, device = job.wildcards.policy, job.device()
    latency = job.optional_input("latency")
    candidates = read_candidates(
        job.read(LatticeOptions), job.input.structure, job.input.blocks, latency
    )
    options = job.read(PruningOptions, seed=job.seed("pruning"))
    images = load_splits(job.input.train, job.input.selection)
    chosen = images.selection.subset(options.probe_images, options.seed)
    images = replace(images.probe(options.probe_images, options.seed), selection=chosen)
    judge = OneShot(
        load(job.input.dense, device, job.params["own_network"]),
        options,
        images.with_batches_on(device),
        read_removal_order(job.input.blocks),
    )
    question = Question(
        candidates,
        job.read(Budget),
        POLICIES[policy].axes,
        job.seed("target", job.wildcards.budget, policy),
        loss=judge.loss,
    )
    target = rival_target(policy, question)
    spent = {"search_cost_macs": judge.cost_macs, "networks_judged": judge.networks}
    TARGET.write(job.output.target, {**target, **spent})
    job.write_provenance(job.output.provenance)
    job.say(target.get("unreachable") or f"{judge.networks} networks were judged")
