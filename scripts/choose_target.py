"""Choose what a rival policy prunes to."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_json
    from prune3d.optimize import Budget
    from prune3d.optimize.policies import LatticeOptions, read_candidates, rival_target

    candidates = read_candidates(
        job.read(LatticeOptions),
        job.input.structure,
        job.input.get("blocks"),
        job.input.get("latency"),
    )
    target = rival_target(job.wildcards.policy, candidates, job.read(Budget))
    write_json(job.output[0], target)
    if "unreachable" in target:
        job.say(target["unreachable"])
