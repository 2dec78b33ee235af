"""Draw the predicted accuracy on the surface of a budget."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import read_csv, read_json
    from prune3d.report.figures import Style, draw_surface
    from prune3d.sampling.table import read_samples

    style = job.read(Style)
    figure = draw_surface(
        read_samples(job.input.samples),
        read_json(job.input.predictor),
        read_json(job.input.optimum),
        read_csv(job.input.tied),
        style,
    )
    style.save(figure, job.output)
