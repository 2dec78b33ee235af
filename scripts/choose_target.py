"""Choose what a rival policy prunes to."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize import Budget
    from prune3d.optimize.policies import LatticeOptions, read_candidates, rival_target
    from prune3d.optimize.target_file import TARGET

    candidates = read_candidates(
        job.read(LatticeOptions),
        job.input.structure,
        job.optional_input("blocks"),
        job.optional_input("latency"),
    )
    target = rival_target(job.wildcards.policy, candidates, job.read(Budget))
    TARGET.write(job.output[0], target)
    if "unreachable" in target:
        job.say(target["unreachable"])
