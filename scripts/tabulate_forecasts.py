"""Put what accuracy the method's final networks were foretold to have beside what they have."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.forecasts import forecast_rows, write_tables

    rows = forecast_rows(job.input.predictors, job.input.finals, job.input.longer)
    write_tables(rows, job.output)
    for row in rows:
        job.say(
            "{experiment} seed {seed} {budget}: forecast {forecast:.2%} ({low:.2%} to {high:.2%}), "
            "measured {selection_top1:.2%} on the selection images".format(**row)
        )
