"""What the items of the report are called, and where in it they stand. Imports nothing."""

from __future__ import annotations

RESULTS, CLAIMS, FOUND, PUBLISHED, RUN = (
    "1. Results",
    "2. Claims",
    "3. How the optimum was found",
    "4. Beside published numbers",
    "5. About the run",
)
# Pages, of tables: category and title.
PAGES = {
    "policies": (RESULTS, "Table: policies side by side"),
    "recovery": (RESULTS, "Table: accuracy over fine-tuning"),
    "latency": (RESULTS, "Table: latencies"),
    "choices": (RESULTS, "Table: choices of training and pruning"),
    "claims": (CLAIMS, "Table: claims and verdicts"),
    "predictors": (FOUND, "Table: errors of the predictors"),
    "forecasts": (FOUND, "Table: accuracy foretold and measured"),
    "ablations": (FOUND, "Table: ablations"),
    "published": (PUBLISHED, "Table: published figures and ours"),
    "warnings": (RUN, "Warnings, failures, and policies left out"),
    "resources": (RUN, "Time and memory by rule"),
    "configuration": (RUN, "Configuration and versions"),
}
FIGURES = {
    "policies": (RESULTS, "Figure: accuracy against MACs"),
    "ranking": (RESULTS, "Figure: which policy is ahead"),
    "recovery": (RESULTS, "Figure: accuracy over fine-tuning"),
    "accuracy_latency": (RESULTS, "Figure: accuracy against latency"),
    "latency": (RESULTS, "Figure: latency against MACs"),
    "profiles": (RESULTS, "Figure: how often a policy is nearly the best"),
    "dimensions": (FOUND, "Figure: accuracy over each dimension"),
    "predictions": (FOUND, "Figure: predicted against measured accuracy"),
    "surface": (FOUND, "Figure: predicted accuracy at a budget"),
    "pareto": (FOUND, "Figure: the optimum over budgets"),
    "ablation": (FOUND, "Figure: ablation"),
}
