"""Draw latency against MACs of all policies."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.figures import Style
    from prune3d.report.latencies import SUMMARY
    from prune3d.report.policy_figures import draw_latencies

    style = job.read(Style)
    style.save(draw_latencies(SUMMARY.read(job.input[0]), style), job.output)
