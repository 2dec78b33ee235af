"""Put all policies side by side."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.policies import compare, write_tables

    comparison = compare("results", job.input.final, job.input.dense)
    write_tables(comparison, job.output)
    for row in comparison.left_out:
        job.say("left out: {experiment} seed {seed} {budget} {policy}: {reason}".format(**row))
