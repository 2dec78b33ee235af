# What all rules use: the checked experiments, and what a rule asks of one.
import gc
import inspect
import sys

import yaml
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from prune3d.errors import UserError
from prune3d.optimize.registry import CHOOSING, JUDGING
from prune3d.report.titles import FIGURES as FIGURE_TITLES
from prune3d.workflow.config import left_out, load_experiments
from prune3d.workflow.config_file import check_config_files
from prune3d.workflow.experiment import Experiment
from prune3d.workflow.paths import (
    BENCHMARKS,
    BUDGET,
    CONSTRAINTS,
    DENSE,
    FIGURES,
    FINAL,
    LOGS,
    LONGER,
    PICTURES,
    ROUNDING,
    RUN,
    SAMPLE,
    SCRATCH,
    STEP,
    TABLES,
    TRIAL,
)
from prune3d.workflow.plan import Plan
from prune3d.workflow.question import Question, ordered
from prune3d.workflow.sources import digest_of, digest_of_config

# Snakemake keeps nearly all that it makes while planning: looking through it for garbage every 700
# objects takes a tenth of the time of a large plan.
gc.set_threshold(100_000, 50, 100)

SCHEMA = yaml.safe_load((Path(workflow.basedir) / "config/schema.yaml").read_text())
try:
    if workflow.is_main_process:
        check_config_files(workflow.configfiles)
    checked = load_experiments(config, SCHEMA)
    not_run = left_out(config["run"], workflow.config_settings.overwrite_config)
except UserError as error:
    raise WorkflowError(f"config: {error}") from None


EXPERIMENTS = {n: Experiment(n, c, tuple(config["seeds"])) for n, c in checked.items()}
PLAN = Plan(EXPERIMENTS)
STYLES = {name: ordered(style) for name, style in config["figures"].items()}


wildcard_constraints:
    **CONSTRAINTS,


# Rules of seconds, which a cluster's login node runs itself.
localrules:
    collect_samples,
    collect_holdout,
    fit_predictor,
    validate_predictor,
    find_optimum,
    search_budgets,
    choose_optimum,
    choose_target,
    tabulate_predictors,
    tabulate_forecasts,
    tabulate_policies,
    tabulate_claims,
    tabulate_ablations,
    tabulate_published,
    plot_policies,
    tabulate_recovery,
    plot_recovery,
    plot_dimensions,
    plot_predictions,
    plot_surface,
    tabulate_pareto,
    plot_pareto,
    tabulate_resources,
    write_report,
    tabulate_latency,
    plot_latency,
    write_card,
    tabulate_int8,


def of(method, *given):
    """Ask the experiment of a job: a method of `Experiment`, with its first arguments.

    Those that are not given are the job's wildcards of the same names, or what Snakemake knows:
    which `attempt` it is, and how many `processes` train in it, one for each GPU that it asks for.
    """
    question = Question(method, given)

    def ask(wildcards, **known):
        try:
            return question.answer(EXPERIMENTS[wildcards.experiment], wildcards, known)
        except UserError as error:
            raise WorkflowError(f"config: {error}") from None

    def ask_at(wildcards, attempt, rulename):
        return ask(wildcards, attempt=attempt, processes=gpus_of(rulename))

    def ask_once(wildcards):
        return ask(wildcards)

    return described(ask_at if question.of_attempts else ask_once)


def shown(name, titles, path, where="all experiments"):
    """Mark a file for the report: with its caption, category and title."""
    category, title = titles[name]
    caption = Path(workflow.basedir) / f"rules/captions/{name}.rst"
    return report(
        path,
        caption=str(caption),
        category=category,
        labels={"what": title, "where": where},
    )


def described(function):
    """Keep the signature of a function, for which Snakemake asks three times a job."""
    function.__signature__ = inspect.signature(function)
    return function


def gpus_of(rulename):
    asked = workflow.get_rule(rulename).resources.get("gpu")
    return asked.raw if asked is not None and isinstance(asked.raw, int) else 1


def one_submission(*names):
    """Put the jobs that share some wildcards into one cluster job."""

    def group(wildcards):
        # Locally each job is run as soon as it can be.
        if workflow.local_exec:
            return None
        return "_".join(getattr(wildcards, name) for name in names)

    return described(group)
