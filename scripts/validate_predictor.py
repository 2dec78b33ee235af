"""Judge both polynomials on samples that they were not fitted to."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.predictor_file import VALIDATION, read_predictor
    from prune3d.optimize.surrogate import validate
    from prune3d.sampling.table import read_holdout, read_samples

    samples = read_samples(job.input.samples)
    held = read_holdout(job.input.holdout, samples)
    result = validate(samples, held, read_predictor(job.input.predictor))
    VALIDATION.write(job.output.validation, result)
    bend = result["bend"]
    job.say(f"can joint pruning win: {bend['joint']}, cross terms {bend['cross_terms']}")
    for kind, errors in result["predictors"].items():
        job.say(f"{kind}: held-out {errors['holdout']}, leave-one-out {errors['leave_one_out']}")
