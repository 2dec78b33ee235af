"""Choose what a rival policy prunes to."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize import Budget
    from prune3d.optimize.policies import LatticeOptions, read_candidates
    from prune3d.optimize.registry import POLICIES
    from prune3d.optimize.rivals import Question, read_lowest, read_search, rival_target
    from prune3d.optimize.target_file import OPTIMUM, TARGET

    policy = job.wildcards.policy
    candidates = read_candidates(
        job.read(LatticeOptions),
        job.input.structure,
        job.optional_input("blocks"),
        job.optional_input("latency"),
        job.seed("blocks", policy) if POLICIES[policy].is_shuffling_blocks else None,
    )
    samples, predictor = read_search(job.optional_input("samples"), job.optional_input("predictor"))
    question = Question(
        candidates,
        job.read(Budget),
        POLICIES[policy].axes,
        job.seed("target", job.wildcards.budget, policy),
        read_lowest(job.params["lowest"]),
        samples,
        predictor,
        OPTIMUM.read(job.input.optimum) if job.optional_input("optimum") else None,
    )
    target = rival_target(policy, question)
    TARGET.write(job.output[0], target)
    if "unreachable" in target:
        job.say(target["unreachable"])
