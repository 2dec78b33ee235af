"""Put all policies side by side, and warn of runs that tell nothing."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.failures import find_failures, sentence
    from prune3d.report.forecast_table import FORECASTS
    from prune3d.report.policies import compare, write_tables
    from prune3d.report.sparse_training import find_unsparse
    from prune3d.report.warnings import find_warnings

    comparison = compare(job.input.final, job.input.dense, job.input.longer, job.input.timed)
    warnings = find_warnings(job.input.final, job.input.dense, job.input.samples, job.input.longer)
    warnings += find_unsparse(job.input.final, job.input.dense)
    forecasts = [row for path in job.input.forecasts for row in FORECASTS.read(path)]
    failed = find_failures(job.input.final, forecasts)
    write_tables(comparison, warnings, failed, job.output)
    for row in comparison.left_out:
        job.say("left out: {experiment} seed {seed} {budget} {policy}: {reason}".format(**row))
    for row in warnings:
        job.warn(row["warning"])
    for row in failed:
        job.warn(sentence(row))
