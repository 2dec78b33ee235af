"""Put experiments beside the one that they are compared with."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.compared import compare_experiments, write_ablations
    from prune3d.report.policies import LEFT_OUT, RUNS

    runs, left_out = RUNS.read(job.input.runs), LEFT_OUT.read(job.input.left_out)
    rows = compare_experiments(runs, job.params["compared"], left_out)
    write_ablations(rows, job.output)
    job.say(f"{len(rows)} differences between experiments")
