"""Put the optima over budgets of all experiments and seeds into one table."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.series import OPTIMA

    OPTIMA.write(job.output[0], [row for path in job.input for row in OPTIMA.read(path)])
