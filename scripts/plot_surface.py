"""Draw the predicted accuracy on the surface of a budget."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.predictor_file import read_predictor
    from prune3d.optimize.target_file import TIED, read_target
    from prune3d.report.figures import Style, draw_surface
    from prune3d.sampling.table import read_samples

    style = job.read(Style)
    fitted = read_predictor(job.input.predictor)
    figure = draw_surface(
        read_samples(job.input.samples).without(fitted["left_out"]),
        fitted,
        read_target(job.input.optimum, "dwr"),
        TIED.read(job.input.tied),
        style,
    )
    style.save(figure, job.output)
