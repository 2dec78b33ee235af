"""Fit the full and the low-rank polynomial to the samples."""

from prune3d.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_json
    from prune3d.samples import read_samples
    from prune3d.surrogate import Settings, fit_both

    fitted = fit_both(read_samples(job.input.samples), job.read(Settings))
    write_json(job.output.predictor, fitted)
