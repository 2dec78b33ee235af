"""Put what others have published beside the results of the run."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_text
    from prune3d.report.policies import POLICIES
    from prune3d.report.published import BESIDE, put_beside, read_published, readable

    rows = put_beside(read_published(), POLICIES.read(job.input[0]), job.params["networks"])
    BESIDE.write(job.output.csv, rows)
    write_text(job.output.md, readable(rows))
