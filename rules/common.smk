# Helpers for the rules: the checked config, one value of it at a time, and the sampling tree.
import functools
import gc
import inspect
import logging
import re
import sys
from functools import cache

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import RerunTrigger

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from prune3d.workflow.config import design_of, leaf_keys, left_out, load_experiments
from prune3d.workflow.config_file import check_config_files
from prune3d.data.registry import DATASETS
from prune3d.data.settings import DataSettings
from prune3d.data.registry import facts as data_facts
from prune3d.workflow.devices import places
from prune3d.errors import UserError
from prune3d.files import check_writable
from prune3d.workflow.leftovers import cancel_leftovers
from prune3d.models.registry import facts as model_facts
from prune3d.optimize.rerank import ROUNDS, RerankOptions
from prune3d.models.registry import is_own
from prune3d.models.registry import own_file as own_path
from prune3d.models.sources import read_sources
from prune3d.workflow.progress import WorkflowProgress
from prune3d.workflow.resources import Workload
from prune3d.workflow.sources import digest_of
from prune3d.sampling.tree import DENSE, sampling_tree
from prune3d.train.recipe import SCHEDULE_KEYS, matters

# Snakemake keeps nearly all that it makes while planning: looking through it for garbage every 700
# objects takes a tenth of the time of a large plan.
gc.set_threshold(100_000, 50, 100)

SCHEMA = yaml.safe_load((Path(workflow.basedir) / "config/schema.yaml").read_text())
try:
    if workflow.is_main_process:
        check_config_files(workflow.configfiles)
    EXPERIMENTS = load_experiments(config, SCHEMA)
    LEFT_OUT = left_out(config["run"], workflow.config_settings.overwrite_config)
except UserError as error:
    raise WorkflowError(f"config: {error}") from None

SEEDS = config["seeds"]
RUN = "results/{experiment}/seed{seed}"
PICTURES = "results/{experiment}/data/pictures.safetensors"
BUDGET = f"{RUN}/budgets/{{budget}}"
FINAL = f"{BUDGET}/{{policy}}"
TRIAL = f"{BUDGET}/trials/{{round}}{{place}}"


wildcard_constraints:
    experiment="[A-Za-z0-9][A-Za-z0-9-]*",
    seed=r"\d+",
    point=r"d[\d.]+_w[\d.]+_r[\d.]+",
    budget="[A-Za-z0-9][A-Za-z0-9._-]*",
    policy="depth|width|resolution|dwr",
    round="first|second",
    place=r"\d+",


# Rules of seconds, which a cluster's login node runs itself.
localrules:
    collect_samples,
    collect_holdout,
    fit_predictor,
    validate_predictor,
    find_optimum,
    choose_optimum,
    choose_target,
    tabulate_predictors,
    tabulate_policies,
    plot_policies,
    plot_dimensions,
    plot_predictions,
    plot_surface,
    tabulate_resources,


# Snakemake notices a changed parameter by comparing sets of values without their names: a 1 that
# becomes 0 beside another 0 would go unnoticed. So a rule has one parameter with names in it, which
# also plans faster.
def together(rule, /, **values):
    """Give a rule's settings, and what code it runs, as one parameter, `{name: value}`.

    `Job` takes it apart.
    """
    ordered = sorted({**values, "code": digest_of(rule)}.items())

    def look_up(wildcards):
        return {
            name: value(wildcards) if callable(value) else value
            for name, value in ordered
        }

    return described(look_up)


def described(function):
    """Keep the signature of a function, for which Snakemake asks three times a job."""
    function.__signature__ = inspect.signature(function)
    return function


def setting(key, matters=lambda wildcards: True):
    """Look up one scalar or list of an experiment's settings, or None where it does not matter."""

    def look_up(wildcards):
        if not matters(wildcards):
            return None
        value = EXPERIMENTS[wildcards.experiment]
        for part in key.split("."):
            value = value[part]
        return value

    return look_up


def prunes(axis):
    """Tell whether a sample is pruned along a dimension, compared with its parent."""

    def matters(wildcards):
        node = sample(wildcards)
        return getattr(node.point, axis) < getattr(node.parent, axis)

    return matters


def policy_in(*policies):
    """Tell whether the policy is one of some."""
    return lambda wildcards: wildcards.policy in policies


def data_uses(key):
    """Tell whether an experiment's data set depends on a setting."""

    def matters(wildcards):
        return key in DATASETS[EXPERIMENTS[wildcards.experiment]["data"]["name"]].uses

    return matters


def pictures(wildcards):
    """Return the file of pictures that all seeds share, where the data set consists of pictures."""
    known = DATASETS[EXPERIMENTS[wildcards.experiment]["data"]["name"]]
    return {"pictures": PICTURES.format(**wildcards)} if known.is_pictures else {}


def may_download(wildcards):
    """Tell whether an experiment's data set may be fetched: 1 or 0."""
    return int(EXPERIMENTS[wildcards.experiment]["data"]["download"])


def settings(section, matters=lambda wildcards: True):
    """Look up each key of a section on its own."""
    prefix = f"defaults.{section}."
    keys = [k.removeprefix(prefix) for k in leaf_keys(SCHEMA) if k.startswith(prefix)]
    return {key: setting(f"{section}.{key}", matters) for key in keys}


def recipe(section):
    """Look up how a job trains, key by key: what has an effect, and what it rewinds."""

    def of(other, key, rewinding):
        def has_effect(wildcards):
            values = EXPERIMENTS[wildcards.experiment]
            if section == "dense" and not is_trained(wildcards):
                return False
            if rewinding and values[section]["schedule"] != "rewind":
                return False
            return matters(values[other], key)

        return setting(f"{other}.{key}", has_effect)

    values = {key: of(section, key, False) for key in settings(section)}
    originals = () if section == "dense" else SCHEDULE_KEYS
    values |= {f"original_{key}": of("dense", key, True) for key in originals}
    return {**values, **settings("compute")}


def teacher(section):
    """Return a function that gives the dense network where a recipe distils it."""

    def look_up(wildcards):
        if EXPERIMENTS[wildcards.experiment][section]["distillation"] == 0:
            return {}
        return {"teacher": f"{RUN}/dense/model.safetensors".format(**wildcards)}

    return look_up


def own_file(key, matters=lambda wildcards: True):
    """Return the files of a model or criterion that is one's own, with those it imports."""
    look_up = setting(key, matters)

    def files(wildcards):
        name = look_up(wildcards)
        return own_files(name) if name and is_own(name) else []

    return files


@cache
def own_files(name):
    """Return the files that ``path/to/file.py:name`` is made of, the first as it is named."""
    try:
        _, *others = read_sources(own_path(name)).paths
    except UserError as error:
        raise WorkflowError(f"config: {error}") from None
    return [str(own_path(name)), *map(beside, others)]


def beside(path):
    """Return a path as people write it: from the working directory, where it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def own_network(wildcards):
    """Give the name of the experiment's network where a file of one's own builds it."""
    name = EXPERIMENTS[wildcards.experiment]["model"]["name"]
    return name if is_own(name) else None


def checkpoint_file(wildcards):
    """Return the file of weights that the dense network starts from instead of training."""
    path = EXPERIMENTS[wildcards.experiment]["model"]["checkpoint"]
    return [path] if path else []


def is_trained(wildcards):
    """Tell whether the dense network is trained."""
    return not checkpoint_file(wildcards)


def is_sparse(wildcards):
    """Tell whether channels are made small while the dense network is trained."""
    sparsity = EXPERIMENTS[wildcards.experiment]["model"]["sparsity"]
    return is_trained(wildcards) and sparsity["penalty"] != "none"


def structure_first(wildcards):
    """Return the structure of a model that is not registered: it is looked at before training."""
    name = EXPERIMENTS[wildcards.experiment]["model"]["name"]
    structure = f"{RUN}/dense/structure.json".format(**wildcards)
    return [structure] if model_facts(name) is None else []


def figure_settings(name):
    """Give the settings of a figure."""
    return config["figures"][name]


def budget_of(wildcards):
    """Look up a budget by its name."""
    budgets = EXPERIMENTS[wildcards.experiment]["budgets"]
    return next(b for b in budgets if b["name"] == wildcards.budget)


def budget_limits():
    """Look up each limit of a budget, None where there is none."""

    def limit(name):
        return lambda wildcards: budget_of(wildcards).get(name)

    return {name: limit(name) for name in ("macs", "params", "latency", "latency_ms")}


def latencies(wildcards):
    """Return the table of latencies where a budget or the preference needs it."""
    # Only the method has a preference; the rule of the rivals has a policy.
    prefers = "policy" not in wildcards.keys() and (
        EXPERIMENTS[wildcards.experiment]["optimum"]["prefer"] == "latency"
    )
    needs = prefers or {"latency", "latency_ms"} & set(budget_of(wildcards))
    return {"latency": f"{RUN}/dense/latency.csv".format(**wildcards)} if needs else {}


def trials(name):
    """Return the metrics of the networks that are tried in a round, by place."""

    def look_up(wildcards):
        options = RerankOptions(**EXPERIMENTS[wildcards.experiment]["rerank"])
        places = range(1, options.places(name) + 1)
        return [
            f"{BUDGET}/trials/{name}{i}/metrics.json".format(**wildcards)
            for i in places
        ]

    return look_up


def first_round(wildcards):
    """Return the metrics of the first round for a trial of the second."""
    return trials("first")(wildcards) if wildcards.round == "second" else []


def sample_ratio(axis):
    """Look up the ratio that a sample is asked to have, or None where it has its parent's."""
    needed = prunes(axis)

    def look_up(wildcards):
        return getattr(sample(wildcards).point, axis) if needed(wildcards) else None

    return look_up


@functools.cache
def sampling_tree_of(experiment):
    """Grow an experiment's sampling tree; one with rivals alone may have none that is right."""
    try:
        return sampling_tree(design_of(EXPERIMENTS[experiment]))
    except UserError as error:
        raise WorkflowError(
            f"config: experiment '{experiment}', sampling: {error}"
        ) from None


def sample_names(role):
    """Look up the names of the samples of a role."""
    return lambda wildcards: sampling_tree_of(wildcards.experiment).named(role)


def sample(wildcards):
    """Look up a point's node in the sampling tree."""
    return sampling_tree_of(wildcards.experiment).nodes[wildcards.point]


def parent_model(wildcards):
    """Return the model file that a sample is pruned from."""
    parent = sample(wildcards).parent
    folder = "dense" if parent == DENSE else f"samples/{parent.name}"
    return f"{RUN}/{folder}/model.safetensors"


def sample_metrics(role):
    """Look up the metrics of the samples of a role."""

    def look_up(wildcards):
        names = sampling_tree_of(wildcards.experiment).named(role)
        return [f"{RUN}/samples/{name}/metrics.json" for name in names]

    return look_up


def fitted_networks(folder):
    """Look up the metrics of the fitted samples of all seeds, in a folder of the run."""

    def look_up(wildcards):
        names = sampling_tree_of(wildcards.experiment).named("fit")
        run = RUN.replace("{experiment}", wildcards.experiment)
        return [
            f"{run}/{folder}/{name}/metrics.json".format(seed=seed)
            for seed in SEEDS
            for name in names
        ]

    return look_up


def macs_budgets():
    """Look up the budgets that are parts of the dense network's MACs."""

    def look_up(wildcards):
        budgets = EXPERIMENTS[wildcards.experiment]["budgets"]
        return [b["macs"] for b in budgets if b.get("macs", 2) <= 1]

    return look_up


def order_of_removal(wildcards):
    """Return the file with the order in which blocks are removed, for policies that remove any."""
    removes = wildcards.policy in ("dwr", "depth")
    return {"blocks": f"{RUN}/dense/blocks.json".format(**wildcards)} if removes else {}


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


def all_runs(name, experiments=EXPERIMENTS):
    """Return one file of every seed of all experiments, or of some."""
    return [f"results/{e}/seed{s}/{name}" for e in experiments for s in SEEDS]


# Experiments in which the method itself is run, not rivals alone.
METHOD = [name for name, values in EXPERIMENTS.items() if "dwr" in values["policies"]]


def searches():
    """Return what the tables need to bill the policies for their search."""
    files = []
    for experiment, values in EXPERIMENTS.items():
        for seed in SEEDS:
            run = f"results/{experiment}/seed{seed}"
            if {"dwr", "depth"} & set(values["policies"]):
                files += [
                    f"{run}/dense/blocks.json",
                    f"{run}/dense/blocks_provenance.json",
                ]
            if experiment in METHOD:
                names = sampling_tree_of(experiment).named("fit")
                files += [f"{run}/samples.csv"]
                files += [f"{run}/samples/{name}/provenance.json" for name in names]
                options = RerankOptions(**values["rerank"])
                for budget in values["budgets"]:
                    files += [
                        f"{run}/budgets/{budget['name']}/{file}"
                        for file in ("optimum.json", "trials.csv")
                    ]
                    files += [
                        f"{run}/budgets/{budget['name']}/trials/{name}{i}/provenance.json"
                        for name in ROUNDS
                        for i in range(1, options.places(name) + 1)
                    ]
    return files


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
    if LEFT_OUT and workflow.is_main_process:
        terminal.warning(
            f"not run, since `run` does not name them: {', '.join(LEFT_OUT)}"
        )
    logger.addHandler(WorkflowProgress(EXPECTED_WORK, terminal.info))


follow_progress()


def workload(experiment, section):
    """Return the images that a job of an experiment passes, once where it does not train."""
    values = EXPERIMENTS[experiment]
    data = DataSettings.from_config(values["data"])
    epochs = values[section]["epochs"] if section else 1
    return Workload.of(data_facts(data), epochs, data.resident_gb)


WORKLOADS = {
    (name, section): workload(name, section)
    for name in EXPERIMENTS
    for section in ("dense", "finetune", "final", None)
}


def measures_on_gpu(wildcards):
    """Tell whether latencies are measured on a GPU where there is one: 1 or 0."""
    return int(EXPERIMENTS[wildcards.experiment]["latency"]["device"] != "cpu")


def processes_of(rulename):
    """Return how many processes train in a job of a rule: one for each GPU that it asks for."""
    asked = workflow.get_rule(rulename).resources.get("gpu")
    return asked.raw if asked is not None and isinstance(asked.raw, int) else 1


def on_gpu(section=None):
    """Give the resources of a rule that trains by a recipe, or passes the images once."""
    return {"gpu": 1, **on_cpu(section)}


def on_cpu(section=None):
    """Give the resources of a rule that needs no GPU but reads the images or a network."""

    def minutes(wildcards, attempt):
        return WORKLOADS[wildcards.experiment, section].minutes(attempt)

    def memory(wildcards, attempt, rulename):
        data = WORKLOADS[wildcards.experiment, section]
        return data.memory_mb(attempt, processes_of(rulename))

    return {"runtime": described(minutes), "mem_mb": described(memory)}


def one_submission(*names):
    """Put the jobs that share some wildcards into one cluster job."""

    def group(wildcards):
        # Locally each job is run as soon as it can be.
        if workflow.local_exec:
            return None
        return "_".join(getattr(wildcards, name) for name in names)

    return described(group)


def bound_gpus():
    """On this machine alone, run as many jobs at a time as there are places on its GPUs."""
    if not workflow.is_main_process or workflow.nodes is not None:
        return
    try:
        free = places()
    except UserError as error:
        raise WorkflowError(str(error)) from None
    if free and "gpu" not in workflow.global_resources:
        workflow.global_resources["gpu"] = free


bound_gpus()


def check_interpreter():
    """Refuse a Python whose name a shell takes apart, as Snakemake's scripts would not start."""
    deployed = workflow.deployment_settings.deployment_method
    if deployed or not re.search(r"[\s'\"\\$&;()<>|*?`]", sys.executable):
        return
    raise WorkflowError(
        f"Python lies in a folder whose name has a blank or a sign of the shell: {sys.executable}; "
        "make the environment in a folder without them."
    )


check_interpreter()


class TriggeredByContent(type(workflow)):
    """A workflow in which a script's new date reruns nothing, unless the user names triggers.

    Its content, and that of the library, is a parameter. Settings are known only when all rules
    are, and a profile in the place where Snakemake looks for one would replace a user's.
    """

    @property
    def rerun_triggers(self):
        triggers = super().rerun_triggers
        if triggers != RerunTrigger.all():
            return triggers
        return triggers - {RerunTrigger.CODE}


workflow.__class__ = TriggeredByContent


onstart:
    try:
        # Snakemake itself would end in a traceback.
        check_writable("results")
        # A controller that was killed left its jobs behind.
        if workflow.non_local_exec:
            cancel_leftovers(Path.cwd(), logger.info)
    except UserError as error:
        raise WorkflowError(str(error)) from None
