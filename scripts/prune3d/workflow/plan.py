"""All that a run makes: files of several experiments, for the tables. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prune3d.optimize.registry import METHOD, POLICIES
from prune3d.optimize.rounds import ROUNDS
from prune3d.sampling.tree import DENSE
from prune3d.workflow.experiment import Experiment
from prune3d.workflow.paths import Run

SCRATCH = "scratch"  # the ablation that trains


@dataclass(frozen=True)
class Plan:
    """The experiments that are run, by name."""

    experiments: Mapping[str, Experiment]

    @property
    def method(self) -> list[str]:
        """Names of the experiments in which the method itself is run, not rivals alone."""
        return [name for name, one in self.experiments.items() if one.is_method]

    def every_run(self, name: str, *, method_only: bool = False) -> list[str]:
        """Return one file of every seed of all experiments, or of those with the method."""
        return [
            path
            for one in self.experiments.values()
            if one.is_method or not method_only
            for path in one.every_seed(name)
        ]

    def finals(self, name: str) -> list[str]:
        """Return one file of every final network."""
        return [path for one, run in self._runs() for path in one.finals(name, str(run.seed))]

    def longer(self, name: str) -> list[str]:
        """Return one file of every dense network that is fine-tuned as final networks are."""
        return [run.dense(f"longer/{name}") for one, run in self._runs() if one.is_dense_longer]

    def surfaces(self, kind: str) -> list[str]:
        """Return the figures of the surfaces of all budgets, for the first seed."""
        return [
            f"results/figures/{name}_seed{one.seeds[0]}_{budget['name']}_surface.{kind}"
            for name, one in self.experiments.items()
            if one.is_method
            for budget in one.config["budgets"]
        ]

    def rankings(self, name: str) -> list[str]:
        """Return one file of every ranking of blocks by which policies are billed."""
        return [run.dense(name) for one, run in self._runs() if _removes_blocks(one)]

    def sampled(self, name: str) -> list[str]:
        """Return one file of every fitted sample."""
        return [
            run.sample(point, name)
            for one, run in self._runs()
            if one.is_method
            for point in one.names("fit")
        ]

    def searched(self, name: str) -> list[str]:
        """Return one file of every budget that the method searches."""
        return [run.budget(budget, name) for _, run, budget in self._searches()]

    def targets(self) -> list[str]:
        """Return what every policy prunes to that chooses for itself."""
        return [
            one.target(str(run.seed), budget["name"], policy)
            for one, run in self._runs()
            for budget in one.config["budgets"]
            for policy in one.policies
            if not POLICIES[policy].is_at_optimum
        ]

    def tried(self, name: str) -> list[str]:
        """Return one file of every network that is tried before the method chooses."""
        return [
            run.trial(budget, turn, place, name)
            for one, run, budget in self._searches()
            for turn in ROUNDS
            for place in one.places(turn)
        ]

    @property
    def networks(self) -> list[list[str]]:
        """Name, data set and model of each experiment."""
        return [
            [name, one.config["data"]["name"], one.config["model"]["name"]]
            for name, one in self.experiments.items()
        ]

    @property
    def compared(self) -> list[list[str]]:
        """Name of each experiment that is compared with another, and of that other."""
        named = ((name, one.config["compared_with"]) for name, one in self.experiments.items())
        return [[name, other] for name, other in named if other not in (None, name)]

    @property
    def tables(self) -> list[str]:
        """Names of the tables that are written for people."""
        found = ["predictors", "forecasts"] if self.method else []
        found += ["latency"] if self.is_timed else []
        return ["policies", "recovery", "claims", "published", *found]

    def beside(self, kind: str) -> list[str]:
        """Return the ``tables`` or ``figures`` that the report has beside those of each run."""
        if kind == "tables":
            tables = ["recovery", *(["pareto"] if self.method else [])]
            return [f"results/tables/{name}.csv" for name in tables]
        figures = [f"{name}_recovery" for name in self.experiments]
        figures += [f"{name}_pareto" for name in self.method]
        return [f"results/figures/{name}.png" for name in figures]

    @property
    def pages(self) -> list[str]:
        """Names of the pages of the report."""
        ablations = ["choices"] if self.compared else []
        ablations += ["ablations"] if self.ablation_tables else []
        return [*self.tables, *ablations, "warnings", "resources", "configuration"]

    @property
    def is_timed(self) -> bool:
        """Whether final networks are timed as a part of the run."""
        return bool(self._timed())

    def timed(self, name: str) -> list[str]:
        """Return one file of every seed of the experiments whose final networks are timed."""
        return [path for one in self._timed() for path in one.every_seed(name)]

    def asked_to_time(self, name: str) -> list[str]:
        """Return the same of all experiments where none of them is timed as a part of the run."""
        return self.timed(name) or self.every_run(name)

    def _timed(self) -> list[Experiment]:
        return [one for one in self.experiments.values() if one.config["latency"]["finals"]]

    @property
    def ablation_tables(self) -> list[str]:
        """The tables of all ablations for people."""
        return [
            f"results/tables/{name}_ablation_{ablation}.md"
            for name, one in self.experiments.items()
            for ablation in one.ablations
        ]

    def ablation_figures(self, kind: str) -> list[str]:
        """Return the figures of all ablations."""
        return [
            f"results/figures/{name}_ablation_{ablation}.{kind}"
            for name, one in self.experiments.items()
            for ablation in one.ablations
        ]

    def ablated(self, ablation: str) -> list[str]:
        """Return the tables of the single fits or networks of an ablation, by experiment."""
        part = "" if ablation == SCRATCH else "_runs"
        return [
            f"results/tables/{name}_ablation_{ablation}{part}.csv"
            for name, one in self.experiments.items()
            if ablation in one.ablations
        ]

    def _searches(self) -> Iterator[tuple[Experiment, Run, str]]:
        for one, run in self._runs():
            for budget in one.config["budgets"] if one.is_method else ():
                yield one, run, budget["name"]

    def benchmarks(self) -> list[str]:
        """Return what Snakemake measures of every job but the one that sums them up."""
        names = ["tabulate_policies", "plot_policies", "tabulate_claims", "tabulate_published"]
        names += ["tabulate_ablations"] if self.compared else []
        names += ["tabulate_predictors", "tabulate_forecasts"] if self.method else []
        names += ["tabulate_latency", "plot_latency"] if self.is_timed else []
        files = [f"results/benchmarks/{name}.tsv" for name in names]
        for one in self.experiments.values():
            rules = ["read_pictures"] if one.pictures() else []
            rules += ["plot_dimensions", "plot_predictions"] if one.is_method else []
            rules += [_ablation_job(name) for name in one.ablations]
            files += [f"results/benchmarks/{one.name}/{rule}.tsv" for rule in rules]
            files += [path for run in one.runs for path in _benchmarks(one, run)]
            files += _per_budget(one, one.runs[0], "plot_surface") if one.is_method else []
        return files

    def _runs(self) -> Iterator[tuple[Experiment, Run]]:
        for one in self.experiments.values():
            for run in one.runs:
                yield one, run


def _ablation_job(ablation: str) -> str:
    return "ablate_scratch" if ablation == SCRATCH else f"ablate_predictor/{ablation}"


def _removes_blocks(experiment: Experiment) -> bool:
    return any(POLICIES[policy].is_removing_blocks for policy in experiment.policies)


def _benchmarks(experiment: Experiment, run: Run) -> Iterator[str]:
    """Yield the benchmarks of a seed's jobs."""
    config = experiment.config
    for rule in ("prepare_data", "analyze_dense", "train_dense", "evaluate_dense"):
        yield run.benchmark(rule)
    if experiment.keep:
        yield run.benchmark("analyze_kept")
    timed = _is_timed(experiment)
    if experiment.is_dense_longer:
        yield run.benchmark("finetune_dense")
        yield run.benchmark("evaluate_longer")
    if config["latency"]["finals"]:
        yield run.benchmark("time_networks")
    if timed or _removes_blocks(experiment):
        yield run.benchmark("rank_blocks")
    if timed:
        yield run.benchmark("measure_latency")
    if experiment.is_method:
        yield from _search_benchmarks(experiment, run)
    for budget in config["budgets"]:
        for policy in experiment.policies:
            job = "descend_target" if POLICIES[policy].is_judging else "choose_target"
            chosen = () if POLICIES[policy].is_at_optimum else (job,)
            made = ("prune_final", "finetune_final", "evaluate_final", "export_onnx", "write_card")
            also = ("export_program",) if config["export_program"] else ()
            for rule in (*chosen, *made, *also):
                yield run.benchmark(rule, budget["name"], policy)
            for step in range(1, experiment.steps(policy)):
                yield run.benchmark("step_final", budget["name"], policy, str(step))


def _search_benchmarks(experiment: Experiment, run: Run) -> Iterator[str]:
    for point in experiment.tree.nodes:
        if point != DENSE.name:
            yield run.benchmark("prune_sample", point)
        yield run.benchmark("finetune_sample", point)
    for point in experiment.names("fit") if SCRATCH in experiment.ablations else ():
        if point != DENSE.name:
            yield run.benchmark("train_scratch", point)
    for rule in ("collect_samples", "collect_holdout", "fit_predictor", "validate_predictor"):
        yield run.benchmark(rule)
    yield from _per_budget(experiment, run, "find_optimum")
    yield from _per_budget(experiment, run, "choose_optimum")
    for budget in experiment.config["budgets"]:
        for turn in ROUNDS:
            for place in experiment.places(turn):
                yield run.benchmark("try_candidate", budget["name"], f"{turn}{place}")


def _per_budget(experiment: Experiment, run: Run, rule: str) -> list[str]:
    return [run.benchmark(rule, budget["name"]) for budget in experiment.config["budgets"]]


def _is_timed(experiment: Experiment) -> bool:
    """Tell whether latencies are measured."""
    seed = str(experiment.seeds[0])
    return any(
        experiment.latencies(seed, budget["name"], "" if policy == METHOD else policy)
        for budget in experiment.config["budgets"]
        for policy in experiment.policies
    )
