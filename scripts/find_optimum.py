"""Find the realizable network within the budget whose predicted accuracy is highest."""

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
    from prune3d.optimize.surrogate import chosen, refit
    from prune3d.optimize.target_file import OPTIMUM, TIED
    from prune3d.sampling.table import read_samples

    fitted = read_predictor(job.input.predictor)
    predictor = chosen(fitted)
    samples = read_samples(job.input.samples).without(fitted["left_out"])
    candidates = read_candidates(
        job.read(LatticeOptions),
        job.input.structure,
        job.input.get("blocks"),
        job.input.get("latency"),
    )
    target = optimal_target(
        predictor,
        samples,
        candidates,
        job.read(Budget),
        job.read(OptimumOptions),
        refit(predictor, samples, job.params["refits"], job.seed("refits")),
    )
    TIED.write(job.output.tied, target.pop("members"))
    OPTIMUM.write(job.output.optimum, target)
    if "unreachable" in target:
        job.say(target["unreachable"])
    else:
        job.say(
            "prune to depth {depth:.3f}, width {width:.3f}, resolution {resolution:.3f}: "
            "{macs_ratio:.2%} of the MACs; {ties[networks]} of {n_candidates} networks are "
            "tied".format(**target)
        )
        if target["extrapolated"]:
            names = ", ".join(target["extrapolated"])
            job.say(f"outside the sampled region in {names}: the prediction is extrapolated")
