"""Find the network of the highest prediction within each of a series of budgets."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.policies import LatticeOptions, OptimumOptions, read_candidates
    from prune3d.optimize.predictor_file import read_predictor
    from prune3d.optimize.series import OPTIMA, optima_over_budgets
    from prune3d.optimize.surrogate import chosen, refit
    from prune3d.sampling.table import read_samples

    fitted = read_predictor(job.input.predictor)
    predictor = chosen(fitted)
    samples = read_samples(job.input.samples).without(fitted["left_out"])
    candidates = read_candidates(
        job.read(LatticeOptions), job.input.structure, job.input.blocks, None
    )
    rows = optima_over_budgets(
        predictor,
        samples,
        candidates.lattice,
        job.read(OptimumOptions),
        refit(predictor, samples, job.params["refits"], job.seed("refits")),
    )
    named = {"experiment": job.wildcards.experiment, "seed": int(job.wildcards.seed)}
    OPTIMA.write(job.output[0], [{**named, **row} for row in rows])
