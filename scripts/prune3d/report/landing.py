"""The text that opens the report: in ten lines, what was run and what came out of it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prune3d.optimize.curves import FLOOR
from prune3d.optimize.registry import DENSE_LONGER, METHOD, POLICIES
from prune3d.report.claims import NOT_MEASURED, SUPPORTED, WORDS, by_claim, overall
from prune3d.report.policies import difference, partly_used
from prune3d.report.text import percent, plain, points

Row = Mapping[str, Any]
# More cases, one fewer where choices are told, are told by numbers alone.
MOST_CASES = 6
MOST_NAMES = 6
READING = (
    "The parts on the left are numbered in the order in which they read best; the (i) beside each "
    "item tells how to read it and what it does not show. The best rival is that of the highest "
    "mean; its difference is not corrected for the number of policies."
)


def landing(
    networks: Sequence[Sequence[str]],
    summary: Sequence[Row],
    claims: Sequence[Row],
    warnings: Sequence[Row],
    failed: Sequence[Row],
    left_out: Sequence[Row],
    resources: Sequence[Row],
    choices: Sequence[Row] = (),
) -> str:
    """Return the text in reStructuredText.

    Parameters
    ----------
    networks
        Experiment, data set and model of all that were run.
    summary
        Rows of `prune3d.report.policies.POLICIES`.
    claims
        Rows of `prune3d.report.claims.VERDICTS`.
    warnings, failed, left_out
        Rows of `prune3d.report.warnings.WARNINGS`, `prune3d.report.failures.FAILED` and
        `prune3d.report.policies.LEFT_OUT`.
    resources
        Rows of ``resources.csv``.
    choices
        Rows of `prune3d.report.compared.ABLATIONS`.
    """
    lines = [
        _what_was_run(networks, summary),
        _what_it_took(resources),
        *_what_came_out(summary, MOST_CASES - bool(choices)),
        *_what_choices_change(choices),
        _what_holds(claims),
        _what_to_beware(summary, warnings, failed, left_out),
    ]
    title = "Pruning along depth, width and resolution"
    text = f"{title}\n{'=' * len(title)}\n\n" + "".join(f"- {line}\n" for line in lines)
    return f"{text}\n{READING}\n"


def _what_was_run(networks: Sequence[Sequence[str]], summary: Sequence[Row]) -> str:
    told = [f"{_plain(name)} ({_plain(model)} on {_plain(data)})" for name, data, model in networks]
    budgets = dict.fromkeys(row["budget"] for row in summary if row["budget"])
    policies = dict.fromkeys(row["policy"] for row in summary if row["budget"])
    seeds = max(row["seeds"] for row in summary)
    return (
        f"**Run:** {_several(told)}; seeds: {seeds}; budgets: {_several(map(_plain, budgets))}; "
        f"policies: {_several(map(_plain, policies))}."
    )


def _what_it_took(resources: Sequence[Row]) -> str:
    jobs = sum(int(row["jobs"]) for row in resources)
    retries = sum(int(row["retries"]) for row in resources)
    hours = sum(float(row["seconds"]) for row in resources) / 3600
    return f"**Spent:** {jobs} jobs, {plain(hours, '.2g')} hours together; {retries} made again."


def _what_came_out(summary: Sequence[Row], most: int) -> Iterator[str]:
    cases: dict[tuple[str, str], list[Row]] = {}
    for row in summary:
        if row["budget"]:
            cases.setdefault((row["experiment"], row["budget"]), []).append(row)
    told = {case: rows for case, rows in cases.items() if _of(rows, METHOD)}
    if len(told) > most:
        yield _in_numbers(list(told.values()))
        return
    for (experiment, budget), rows in told.items():
        dense = _of([row for row in summary if row["experiment"] == experiment], "dense")
        yield f"**{_plain(experiment)}, {_plain(budget)}:** {_case(rows, dense)}"


def _case(rows: Sequence[Row], dense: Row | None) -> str:
    own, best = _of(rows, METHOD), _best_rival(rows)
    assert own is not None  # or the case would not be told
    macs = percent(own["macs_ratio_mean"], digits=1)
    text = f"{METHOD} has {_accuracy(own)} at {macs} % of the MACs"
    if dense is not None:
        text += f", the dense network {_accuracy(dense)}"
    if best is not None:
        text += (
            f"; the best rival is {_plain(best['policy'])} with {_accuracy(best)}, "
            f"{difference(best, ' points')} to {METHOD}"
        )
    return text + "."


def _in_numbers(cases: Sequence[Sequence[Row]]) -> str:
    leads = [
        own["test_top1_mean"] - best["test_top1_mean"]
        for own, best in ((_of(rows, METHOD), _best_rival(rows)) for rows in cases)
        if own is not None and best is not None
    ]
    if not leads:
        return f"**Results:** {METHOD} in {len(cases)} cases, without a rival."
    ahead, median = sum(lead > 0 for lead in leads), points(statistics.median(leads))
    return (
        f"**Results:** {METHOD} has the highest mean accuracy in {ahead} of {len(leads)} cases "
        f"(experiments x budgets); in the median of them it is {median} points from the best rival."
    )


def _what_choices_change(choices: Sequence[Row]) -> Iterator[str]:
    """Tell of which choices the interval does not hold 0, those that differ most first."""
    if not choices:
        return
    judged = [row for row in choices if row["difference_low"] is not None]
    apart = [row for row in judged if row["difference_low"] > 0 or row["difference_high"] < 0]
    apart.sort(key=lambda row: -abs(row["difference"]))
    told = [
        f"{row['experiment']} to {row['compared_with']}, {row['policy']}"
        + (f" at {row['budget']}" if row["budget"] else "")
        + f" ({points(row['difference'])})"
        for row in apart
    ]
    which = f": {_several(map(_plain, told))}" if told else ""
    yield (
        f"**Choices:** {len(choices)} comparisons of experiments, {len(judged)} with an interval, "
        f"of which {len(apart)} do not hold 0{which}."
    )


def _what_holds(claims: Sequence[Row]) -> str:
    verdicts = {name: overall(rows) for name, rows in by_claim(claims).items()}
    told = []
    for word in WORDS:
        names = [_plain(name) for name, verdict in verdicts.items() if verdict == word]
        if names or word == SUPPORTED:
            told.append(f"{word}: {_several(names) or 'none'}")
    return f"**Claims** {'; '.join(told)}." if told else f"**Claims** {NOT_MEASURED}."


def _what_to_beware(
    summary: Sequence[Row], warnings: Sequence[Row], failed: Sequence[Row], left_out: Sequence[Row]
) -> str:
    told = [_plain(row["warning"]) for row in warnings]
    if failed:
        networks = [
            f"{row['policy']} at {row['experiment']}, {row['budget']}, seed {row['seed']}"
            for row in failed
        ]
        told.append(f"Final networks that failed: {_several(map(_plain, networks))}.")
    missing = dict.fromkeys(
        f"{row['policy']} at {row['experiment']}, {row['budget']}" for row in left_out
    )
    if missing:
        told.append(
            f"Left out, since they cannot reach the budget: {_several(map(_plain, missing))}."
        )
    if partly := partly_used(summary):
        names = _several(map(_plain, partly))
        told.append(f"Used less of the budget than {100 * FLOOR:.0f} %: {names}.")
    return f"**Warnings:** {' '.join(told) or 'none.'}"


def _of(rows: Sequence[Row], policy: str) -> Row | None:
    return next((row for row in rows if row["policy"] == policy), None)


def _best_rival(rows: Sequence[Row]) -> Row | None:
    others = {METHOD, DENSE_LONGER, *(name for name, one in POLICIES.items() if one.is_control)}
    rivals = [row for row in rows if row["policy"] not in others]
    return max(rivals, key=lambda row: row["test_top1_mean"], default=None)


def _accuracy(row: Row) -> str:
    return f"{percent(row['test_top1_mean'], row['test_top1_std'])} %"


def _several(names: Any) -> str:
    listed = list(names)
    more = len(listed) - MOST_NAMES
    return ", ".join(listed[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _plain(text: str) -> str:
    """Return text in which nothing is markup, of neither reStructuredText nor Jinja."""
    return re.sub(r"([\\*_`|{}<>])", r"\\\1", text)
