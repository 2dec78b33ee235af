# Helpers for the rules: the checked config, one value of it at a time, and the sampling tree.
import logging
import sys

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from prune3d.config import design_of, leaf_keys, load_experiments
from prune3d.errors import UserError
from prune3d.progress import WorkflowProgress
from prune3d.sampling import DENSE, sampling_tree

SCHEMA = yaml.safe_load((Path(workflow.basedir) / "config/schema.yaml").read_text())
try:
    EXPERIMENTS = load_experiments(config, SCHEMA)
except UserError as error:
    raise WorkflowError(f"config: {error}") from None

TREES = {name: sampling_tree(design_of(values)) for name, values in EXPERIMENTS.items()}
SEEDS = config["seeds"]
RUN = "results/{experiment}/seed{seed}"
FINAL = f"{RUN}/budgets/{{budget}}/{{policy}}"


wildcard_constraints:
    experiment="[A-Za-z0-9][A-Za-z0-9-]*",
    seed=r"\d+",
    point=r"d[\d.]+_w[\d.]+_r[\d.]+",
    budget="[A-Za-z0-9][A-Za-z0-9._-]*",
    policy="[a-z_]+",


# Snakemake notices a changed parameter by comparing sets of values without their names: a 1 that
# becomes 0 beside another 0 would go unnoticed. So every value carries its key; `Job` takes it off.
def named(key, look_up):
    """Return a function of wildcards that gives `{key: value}`."""
    return lambda wildcards: {key: look_up(wildcards)}


def setting(key):
    """Look up one scalar or list of an experiment's settings, such as `model.name`."""

    def look_up(wildcards):
        value = EXPERIMENTS[wildcards.experiment]
        for part in key.split("."):
            value = value[part]
        return value

    return named(key, look_up)


def settings(section):
    """Look up each key of a section on its own."""
    prefix = f"defaults.{section}."
    keys = [k.removeprefix(prefix) for k in leaf_keys(SCHEMA) if k.startswith(prefix)]
    return {key: setting(f"{section}.{key}") for key in keys}


def figure_settings(name):
    """Give each setting of a figure on its own."""
    return {
        key: {f"{name}.{key}": value} for key, value in config["figures"][name].items()
    }


def budget_macs():
    """Look up a budget's ratio of the dense MACs by its name."""

    def look_up(wildcards):
        budgets = EXPERIMENTS[wildcards.experiment]["budgets"]
        return next(b["macs"] for b in budgets if b["name"] == wildcards.budget)

    return named("budget.macs", look_up)


def sample_ratio(axis):
    """Look up the ratio of one dimension that a sample is asked to have."""
    return named(
        f"sample.{axis}", lambda wildcards: getattr(sample(wildcards).point, axis)
    )


def sample_names(role=None):
    """Look up the names of the samples of a role, or of all."""

    def look_up(wildcards):
        tree = TREES[wildcards.experiment]
        return tree.named(role) if role else list(tree.nodes)

    return named(f"samples.{role or 'all'}", look_up)


def sample(wildcards):
    """Look up a point's node in the sampling tree."""
    return TREES[wildcards.experiment].nodes[wildcards.point]


def parent_model(wildcards):
    """Return the model file that a sample is pruned from."""
    parent = sample(wildcards).parent
    folder = "dense" if parent == DENSE else f"samples/{parent.name}"
    return f"{RUN}/{folder}/model.safetensors"


def sample_metrics(wildcards):
    """Return the metrics of all samples of one run."""
    names = TREES[wildcards.experiment].nodes
    return [f"{RUN}/samples/{name}/metrics.json" for name in names]


def final_target(wildcards):
    """Return the file that says what a policy prunes to."""
    if wildcards.policy == "dwr":
        return f"{RUN}/budgets/{{budget}}/optimum.json"
    return f"{FINAL}/target.json"


def all_final(name):
    """Return one file of every final network."""
    return [
        f"results/{experiment}/seed{seed}/budgets/{budget['name']}/{policy}/{name}"
        for experiment, values in EXPERIMENTS.items()
        for seed in SEEDS
        for budget in values["budgets"]
        for policy in values["policies"]
    ]


def of_experiment(name):
    """Return one file of every seed of an experiment."""
    return expand(f"{RUN}/{name}", seed=SEEDS, allow_missing=True)


def all_runs(name):
    """Return one file of every experiment and seed."""
    return [f"results/{e}/seed{s}/{name}" for e in EXPERIMENTS for s in SEEDS]


def all_sample_provenance():
    """Return the provenance of every sample that a predictor is fitted to."""
    return [
        f"results/{experiment}/seed{seed}/samples/{name}/provenance.json"
        for experiment, tree in TREES.items()
        for seed in SEEDS
        for name in tree.named("fit")
        if "dwr" in EXPERIMENTS[experiment]["policies"]
    ]


def all_optima():
    """Return every optimum of the method."""
    return [
        f"results/{experiment}/seed{seed}/budgets/{budget['name']}/optimum.json"
        for experiment, values in EXPERIMENTS.items()
        for seed in SEEDS
        for budget in values["budgets"]
        if "dwr" in values["policies"]
    ]


# Relative durations before any job has been timed: mostly trainings, the rest starts torch.
EXPECTED_WORK = {"train_dense": 10, "finetune_final": 4, "finetune_sample": 2}


def follow_progress():
    """Tell after each job how much time is left."""
    terminal = logging.getLogger("prune3d.workflow")
    terminal.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("[prune3d] %(message)s"))
    terminal.handlers[:] = [handler]
    terminal.setLevel(logging.INFO)
    logger.addHandler(WorkflowProgress(EXPECTED_WORK, terminal.info))


follow_progress()
