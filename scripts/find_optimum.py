"""Find the realizable network within the budget of the highest prediction, and its equals."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize import Budget
    from prune3d.optimize.policies import (
        LatticeOptions,
        OptimumOptions,
        optimal_target,
        read_candidates,
    )
    from prune3d.optimize.predictor_file import read_predictor
    from prune3d.optimize.rerank import propose
    from prune3d.optimize.surrogate import chosen, refit
    from prune3d.optimize.target_file import CANDIDATES, OPTIMUM, write_tied
    from prune3d.sampling.table import read_samples

    fitted = read_predictor(job.input.predictor)
    predictor = chosen(fitted)
    samples = read_samples(job.input.samples).without(fitted["left_out"])
    candidates = read_candidates(
        job.read(LatticeOptions),
        job.input.structure,
        job.optional_input("blocks"),
        job.optional_input("latency"),
    )
    budget = job.read(Budget)
    target = optimal_target(
        predictor,
        samples,
        candidates,
        budget,
        job.read(OptimumOptions),
        refit(predictor, samples, job.params["refits"], job.seed("refits")),
    )
    members = target.pop("members")
    networks = propose(target, members, candidates, budget, predictor, job.params["candidates"])
    write_tied(job.output.tied, members)
    CANDIDATES.write(job.output.candidates, {"limits": target["limits"], "networks": networks})
    OPTIMUM.write(job.output.predicted, target)
    if "unreachable" in target:
        job.say(target["unreachable"])
    else:
        job.say(
            "highest prediction at depth {depth:.3f}, width {width:.3f}, resolution "
            "{resolution:.3f}: {macs_ratio:.2%} of the MACs; {ties[networks]} of {n_candidates} "
            "networks are tied".format(**target)
        )
        if target["extrapolated"]:
            names = ", ".join(target["extrapolated"])
            job.say(f"outside the sampled region in {names}: the prediction is extrapolated")
