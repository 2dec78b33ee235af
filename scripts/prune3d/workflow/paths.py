"""The grammar of ``results/``: where every file lies, and what a path says of its run.

::

    {experiment}/data/pictures.safetensors                               picture files, read once
    {experiment}/rounding.json                multiples of channels that are fast, where measured
    {experiment}/seed{seed}/data/{train,selection,test}.safetensors      the images, split
    {experiment}/seed{seed}/dense/model.safetensors                      the trained network
                                  metrics.json, provenance.json, history.csv
                                  structure.json      what can be pruned, and what it costs
                                  structure_kept.json the same beside the layers that are kept
                                  blocks.json         its blocks in the order of removal
                                  test.json           accuracy on the test images
                                  latency.csv         milliseconds of pruned networks
                                  longer/...          it, fine-tuned as final networks are
    {experiment}/seed{seed}/samples/{point}/pruned.safetensors           before fine-tuning
                                            model.safetensors            after it
                                            metrics.json, provenance.json, history.csv
    {experiment}/seed{seed}/samples.csv                                  all fitted samples
    {experiment}/seed{seed}/holdout.csv                                  those only predicted
    {experiment}/seed{seed}/latency.csv                    milliseconds of the final networks
    {experiment}/seed{seed}/optima.csv                     the best predicted, over budgets
    {experiment}/seed{seed}/predictor/{predictor,validation}.json
    {experiment}/seed{seed}/budgets/{budget}/predicted.json, tied.csv    best predicted, its equals
                                    {budget}/candidates.json             networks that are tried
                                    {budget}/trials/{round}{place}/model.safetensors
                                                      metrics.json, provenance.json, history.csv
                                    {budget}/optimum.json, trials.csv    the best of them
                                    {budget}/{policy}/target.json        what to prune to (rivals)
                                    {budget}/{policy}/steps/{step}/model.safetensors
                                                      provenance.json, history.csv: on the way
                                    {budget}/{policy}/{pruned,model}.safetensors
                                                      model.onnx, pictures.onnx, README.md
                                                      model.pt2           where it is asked for
                                                      metrics.json, provenance.json, history.csv
    {experiment}/seed{seed}/scratch/{point}/...                          samples trained anew
    {logs,benchmarks}/[{experiment}/[seed{seed}/]]{rule}[/{job}].{log,tsv}
    tables/*.{csv,md,tex}, figures/*.{pdf,png}

``{experiment}``, ``{budget}`` and ``{policy}`` are names from the config, ``{point}`` is
``d{depth}_w{width}_r{resolution}`` in percent, and the policy ``dwr`` is the method itself. Needs
neither torch nor Snakemake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from prune3d.optimize.registry import POLICIES

# As rules write them, with wildcards.
RUN = "results/{experiment}/seed{seed}"
DENSE = f"{RUN}/dense"
LONGER = f"{DENSE}/longer"
SAMPLE = f"{RUN}/samples/{{point}}"
SCRATCH = f"{RUN}/scratch/{{point}}"
BUDGET = f"{RUN}/budgets/{{budget}}"
FINAL = f"{BUDGET}/{{policy}}"
STEP = f"{FINAL}/steps/{{step}}"
TRIAL = f"{BUDGET}/trials/{{round}}{{place}}"
PICTURES = "results/{experiment}/data/pictures.safetensors"
ROUNDING = "results/{experiment}/rounding.json"
LOGS = "results/logs/{experiment}/seed{seed}"
BENCHMARKS = "results/benchmarks/{experiment}/seed{seed}"
TABLES = "results/tables"
FIGURES = "results/figures"

# What a wildcard may be.
CONSTRAINTS = {
    "experiment": "[A-Za-z0-9][A-Za-z0-9-]*",
    "seed": r"\d+",
    "point": r"d[\d.]+_w[\d.]+_r[\d.]+",
    "budget": "[A-Za-z0-9][A-Za-z0-9._-]*",
    "policy": "|".join(POLICIES),
    "round": "first|second",
    "place": r"\d+",
    "step": r"\d+",
}
# Folders that lie beside those of the experiments.
RESERVED = ("tables", "figures", "logs", "benchmarks")


@dataclass(frozen=True)
class Run:
    """One seed of an experiment.

    Attributes
    ----------
    experiment, seed
        Its name and seed.
    root
        The folder of all results.
    """

    experiment: str
    seed: int
    root: str = "results"

    @property
    def folder(self) -> str:
        """Where its files lie."""
        return f"{self.root}/{self.experiment}/seed{self.seed}"

    @property
    def train(self) -> str:
        """Its training images."""
        return f"{self.folder}/data/train.safetensors"

    def dense(self, name: str) -> str:
        """Return a file of the dense network."""
        return f"{self.folder}/dense/{name}"

    def sample(self, point: str, name: str) -> str:
        """Return a file of a sample."""
        return f"{self.folder}/samples/{point}/{name}"

    def scratch(self, point: str, name: str) -> str:
        """Return a file of a sample that is trained from scratch."""
        return f"{self.folder}/scratch/{point}/{name}"

    def budget(self, budget: str, name: str) -> str:
        """Return a file of a budget, such as ``optimum.json``."""
        return f"{self.folder}/budgets/{budget}/{name}"

    def final(self, budget: str, policy: str, name: str) -> str:
        """Return a file of the final network of a policy."""
        return f"{self.folder}/budgets/{budget}/{policy}/{name}"

    def step(self, budget: str, policy: str, step: int, name: str) -> str:
        """Return a file of a step on the way to the final network of a policy."""
        return self.final(budget, policy, f"steps/{step}/{name}")

    def trial(self, budget: str, name: str, place: int, file: str) -> str:
        """Return a file of a network that is tried in a round, ``first`` or ``second``."""
        return f"{self.folder}/budgets/{budget}/trials/{name}{place}/{file}"

    @property
    def samples(self) -> str:
        """The table of all fitted samples."""
        return f"{self.folder}/samples.csv"

    def benchmark(self, rule: str, *job: str) -> str:
        """Return what Snakemake measured of one of the run's jobs."""
        name = f"{rule}/{'_'.join(job)}" if job else rule
        return f"{self.root}/benchmarks/{self.experiment}/seed{self.seed}/{name}.tsv"


@dataclass(frozen=True)
class Final:
    """The final network of a policy: its run, budget and policy."""

    run: Run
    budget: str
    policy: str


# What lies in a run's folder tells it from a budget that is called like a seed.
_RUN = re.compile(
    r"(?:(?P<root>.*)/)?(?P<experiment>[^/]+)/seed(?P<seed>\d+)/"
    r"(?P<rest>(?:data|dense|samples|scratch|predictor|budgets)/.+|(?:samples|holdout)\.csv)"
)
_FINAL = re.compile(r"budgets/(?P<budget>[^/]+)/(?P<policy>[^/]+)/[^/]+")


def run_of(path: str | Path) -> Run:
    """Return the run of one of its files.

    Raises
    ------
    ValueError
        If the path is none of a run's.
    """
    return _split(path)[0]


def final_of(path: str | Path) -> Final:
    """Return the final network of one of its files.

    Raises
    ------
    ValueError
        If the path is none of a final network's.
    """
    run, rest = _split(path)
    found = _FINAL.fullmatch(rest)
    if found is None:
        raise ValueError(f"{path} is no file of a final network")
    return Final(run, found["budget"], found["policy"])


def _split(path: str | Path) -> tuple[Run, str]:
    # The last that fits: a folder above the results may be called so, too.
    found = _RUN.fullmatch(Path(path).as_posix())
    if found is None:
        raise ValueError(f"{path} is no file of a run")
    return Run(found["experiment"], int(found["seed"]), found["root"] or "."), found["rest"]


def job_of(path: str | Path, suffix: str) -> tuple[str, str]:
    """Return the rule and the job of a log or benchmark file.

    Parameters
    ----------
    path
        ``[...]{logs,benchmarks}/[{experiment}/[seed{seed}/]]{rule}[/{job}]`` and the suffix.
    suffix
        How its name ends.
    """
    parts = list(Path(path).parts)
    kind = max(i for i, part in enumerate(parts) if part in ("logs", "benchmarks"))
    parts = [*parts[kind + 1 : -1], parts[-1].removesuffix(suffix)]
    per_seed = len(parts) > 2 and re.fullmatch(r"seed\d+", parts[1])
    place = 2 if per_seed else min(1, len(parts) - 1)
    return parts[place], "/".join(parts[:place] + parts[place + 1 :])


def log_of(benchmark: str | Path) -> Path:
    """Return the log of a job from its benchmark."""
    path = Path(benchmark)
    parts = list(path.parts)
    kind = max(i for i, part in enumerate(parts) if part == "benchmarks")
    return Path(*parts[:kind], "logs", *parts[kind + 1 :]).with_suffix(".log")
