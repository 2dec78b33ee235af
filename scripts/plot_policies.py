"""Draw all policies: accuracy against MACs, their order, how often each is nearly the best."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.report.figures import Style
    from prune3d.report.policies import LEFT_OUT, POLICIES, RUNS
    from prune3d.report.policy_figures import draw_policies, draw_profiles
    from prune3d.report.ranking import draw_ranking
    from prune3d.report.warnings import WARNINGS

    style = job.read(Style)
    notes = [row["warning"] for row in WARNINGS.read(job.input.warnings)]
    style.save(draw_policies(POLICIES.read(job.input.table), style, notes), job.output)
    runs, left_out = RUNS.read(job.input.runs), LEFT_OUT.read(job.input.left_out)
    style.save(draw_ranking(runs, style), job.output, "ranking_")
    style.save(draw_profiles(runs, style, left_out), job.output, "profiles_")
