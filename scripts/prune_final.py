"""Prune the dense network to a policy's target and check that it costs what was composed."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.models.checkpoint import save, save_unreachable
    from prune3d.models.lineage import name_stage
    from prune3d.optimize.registry import POLICIES, target_of
    from prune3d.optimize.target_file import read_target

    policy = job.wildcards.policy
    target = read_target(job.input.target, target_of(policy))
    if target.get("unreachable"):
        save_unreachable(job.output.pruned, target["unreachable"])
        job.say(f"left out: {target['unreachable']}")
    else:
        from prune3d.workflow.finals import prune_dense

        pruned = prune_dense(job, target, POLICIES[policy].is_filling_budget)
        if job.params["scratch"]:
            from prune3d.models.fresh import initialize

            initialize(pruned, job.seed("initialization", policy))
        name_stage(pruned, f"{job.wildcards.budget}/{policy}")
        save(pruned, job.output.pruned)
    before = job.input.provenance
    job.write_provenance(job.output.provenance, earlier={"step_final": before} if before else None)
