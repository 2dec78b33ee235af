"""Put experiments beside the one that they are compared with."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.compared import compare_experiments, write_ablations
    from prune3d.report.policies import RUNS

    rows = compare_experiments(RUNS.read(job.input[0]), job.params["compared"])
    write_ablations(rows, job.output)
    job.say(f"{len(rows)} differences between experiments")
