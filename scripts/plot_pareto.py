"""Draw the predicted optimum over budgets."""

from prune3d.workflow.job import Job

with Job(snakemake) as job:
    from prune3d.optimize.series import OPTIMA
    from prune3d.report.budget_figures import draw_pareto
    from prune3d.report.figures import Style
    from prune3d.report.policies import RUNS

    style = job.read(Style)
    rows = [row for path in job.input.optima for row in OPTIMA.read(path)]
    finals = [
        row
        for row in RUNS.read(job.input.runs)
        if row["experiment"] == job.wildcards.experiment and row["budget"]
    ]
    style.save(draw_pareto(rows, finals, style), job.output)
