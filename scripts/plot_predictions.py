"""Draw predicted against measured accuracy."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.predictor_file import read_predictor
    from prune3d.report.figures import Style, draw_predictions
    from prune3d.sampling.table import read_holdout, read_samples

    style = job.read(Style)
    runs = [read_samples(path) for path in job.input.samples]
    held = [read_holdout(path, run) for path, run in zip(job.input.holdout, runs, strict=True)]
    fitted = [read_predictor(path) for path in job.input.predictors]
    style.save(draw_predictions(runs, held, fitted, style), job.output)
