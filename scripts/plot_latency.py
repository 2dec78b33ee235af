"""Draw latency against MACs of all policies, and accuracy against latency."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.figures import Style
    from prune3d.report.latencies import SUMMARY
    from prune3d.report.policy_figures import draw_accuracy_over_latency, draw_latencies

    style = job.read(Style)
    summary = SUMMARY.read(job.input[0])
    style.save(draw_latencies(summary, style), job.output)
    width, height = style.size
    # Two panels beside one another.
    wide = Style((1.8 * width, height), style.dpi)
    wide.save(draw_accuracy_over_latency(summary, wide), job.output, "accuracy_")
