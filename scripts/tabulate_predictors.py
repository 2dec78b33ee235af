"""Put the errors of the predictors side by side."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.predictors import predictor_rows, write_tables

    write_tables(predictor_rows(job.input), job.output)
