"""Fit the full and the low-rank polynomial to the samples."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.predictor_file import PREDICTOR
    from prune3d.optimize.surrogate import Settings, fit_both
    from prune3d.sampling.table import read_samples

    fitted = fit_both(read_samples(job.input.samples), job.read(Settings))
    PREDICTOR.write(job.output.predictor, fitted)
    if fitted["left_out"]:
        names = ", ".join(fitted["left_out"])
        job.say(f"left out of the fit, since no smooth curve passes near: {names}")
