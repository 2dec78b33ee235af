"""Draw accuracy over each dimension."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.predictor_file import read_predictor
    from prune3d.report.figures import Style, draw_dimensions
    from prune3d.sampling.table import read_samples

    style = job.read(Style)
    runs = [read_samples(path) for path in job.input.samples]
    fitted = [read_predictor(path) for path in job.input.predictors]
    style.save(draw_dimensions(runs, fitted, style), job.output)
