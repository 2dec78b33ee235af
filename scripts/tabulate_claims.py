"""Judge the claims about the method by what the run has measured."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.files import write_text
    from prune3d.report.claims import VERDICTS, judge_all, overview, read_claims, readable
    from prune3d.report.measures import read_measured

    claims = read_claims()
    rows = judge_all(claims, read_measured(job.input))
    VERDICTS.write(job.output.csv, rows)
    write_text(job.output.md, readable(claims, rows))
    for line in overview(rows):
        job.say(line)
