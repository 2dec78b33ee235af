"""Which claims hold: for each, in every case, effect, interval and verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from prune3d.errors import UserError
from prune3d.files import read_text
from prune3d.optimize.registry import METHOD
from prune3d.records import Count, Name, NonNegative, Record, TableKind, first_wrong
from prune3d.report.measures import MEASURES, NOT_RUN, Case, Compared, Measured, Sides
from prune3d.report.paired import LEVEL, Effect
from prune3d.report.text import markdown

CLAIMS = Path(__file__).with_name("claims.yaml")
FEWEST_SEEDS = 3
SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
NOT_MEASURED = "not measured"
# What decides where comparisons of a case, or cases, differ: the first of these.
ORDER = (REFUTED, UNDECIDED, SUPPORTED)


class Claim(Record):
    """A claim, as claims.yaml has it."""

    model_config = ConfigDict(strict=False)

    claim: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\z")]
    statement: Name
    measure: Literal[
        "test_accuracy",
        "prediction",
        "forecast",
        "search_cost",
        "predictor_error",
        "rank_of_scratch",
    ]
    subject: Name = METHOD
    than: tuple[Name, ...] = ()
    expected: Literal["above", "within", "not_behind"]
    smallest_effect: NonNegative

    @model_validator(mode="after")
    def _has_rivals(self) -> Claim:
        if bool(self.than) != (self.measure == "test_accuracy"):
            raise ValueError("rivals go with the measure test_accuracy, and with no other")
        return self

    @property
    def sides(self) -> Sides:
        """Whose accuracy is compared with whose."""
        return Sides(self.subject, self.than)


class ClaimRow(Record):
    """A claim in a case."""

    claim: Name
    statement: Name
    experiment: Name
    budget: Name | None = None
    compared: Name
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: Count
    smallest_effect: NonNegative
    verdict: Literal["supported", "refuted", "undecided", "not measured"]
    reason: Name


VERDICTS = TableKind("claims", 1, ClaimRow)
Row = dict[str, Any]


def read_claims(path: str | Path = CLAIMS) -> list[Claim]:
    """Read the claims.

    Raises
    ------
    UserError
        If the file is missing or not as it should be, or two claims have one name.
    """
    try:
        claims = TypeAdapter(list[Claim]).validate_python(yaml.safe_load(read_text(path)))
    except ValidationError as error:
        raise UserError(f"{path} is wrong: {first_wrong(error)}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML file ({str(error).splitlines()[0]}).") from None
    names = [one.claim for one in claims]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{path} has two claims of the name {twice[0]}.")
    return claims


@dataclass(frozen=True)
class Verdict:
    """What is said of a comparison, and why."""

    word: str
    reason: str


def judge(claim: Claim, effect: Effect, rivals: int = 1) -> Verdict:
    """Judge one comparison.

    Intervals are of 95 %. One of several rivals refutes a claim only by an interval that is wider,
    so that by chance it happens in one of twenty claims at most. Two ways are equal within the
    smallest effect if both one-sided tests say so at 5 %: if the 90 % interval lies inside. That
    the method is not behind is claimed more strictly: one rival ahead of it by its own interval
    refutes it, by chance as well, and it is shown by an interval above minus the smallest effect.

    Parameters
    ----------
    claim
        What is claimed.
    effect
        The difference over seeds.
    rivals
        With how many the claim was compared.
    """
    if effect.seeds < FEWEST_SEEDS:
        return Verdict(UNDECIDED, f"too few seeds: {effect.seeds} of at least {FEWEST_SEEDS}")
    interval, narrow = effect.interval(), effect.interval(1 - 2 * (1 - LEVEL))
    wide = effect.interval(1 - (1 - LEVEL) / rivals)
    if interval is None or narrow is None or wide is None:
        return _judge_without_spread(claim, effect)
    limit, scale, unit = claim.smallest_effect, MEASURES[claim.measure].scale, _unit(claim)
    within = f"equal within {limit * scale:g} {unit}"
    equal = -limit < narrow[0] and narrow[1] < limit
    if claim.expected == "within":
        if equal:
            return Verdict(SUPPORTED, within)
        if interval[0] > limit or interval[1] < -limit:
            return Verdict(REFUTED, f"not {within}")
        return Verdict(UNDECIDED, f"neither {within} nor shown to differ by more")
    if claim.expected == "not_behind":
        behind = f"behind by {limit * scale:g} {unit}"
        if interval[1] < 0:
            return Verdict(REFUTED, "the interval is below 0")
        if interval[0] > -limit:
            return Verdict(SUPPORTED, f"not {behind}")
        return Verdict(UNDECIDED, f"it may be {behind} or more")
    if equal:
        return Verdict(UNDECIDED, f"no difference of interest: {within}")
    if interval[0] > 0:
        return Verdict(SUPPORTED, "the interval is above 0")
    if wide[1] < 0:
        return Verdict(REFUTED, "the interval is below 0")
    if interval[1] < 0:
        ends = ", ".join(f"{end * scale:+.2f}" for end in wide)
        return Verdict(UNDECIDED, f"below 0, but not by the wider interval of {rivals} [{ends}]")
    return Verdict(UNDECIDED, "no difference found: the interval holds 0")


def _judge_without_spread(claim: Claim, effect: Effect) -> Verdict:
    """Judge a comparison in which all seeds differ by the same."""
    measure = MEASURES[claim.measure]
    if measure.is_exact:
        word = SUPPORTED if effect.mean > 0 else REFUTED
        return Verdict(word, "counted: the same in all seeds")
    if measure.largest is not None and math.isclose(effect.mean, measure.largest):
        return Verdict(SUPPORTED, "the most that there can be, in all seeds")
    return Verdict(UNDECIDED, "all seeds differ by the same, so that the spread is unknown")


def judge_all(claims: Sequence[Claim], measured: Measured) -> list[Row]:
    """Return rows of `VERDICTS`: every claim in every case."""
    rows = []
    for claim in claims:
        found: dict[Case, list[Compared]] = {}
        for one in MEASURES[claim.measure].compare(measured, claim.sides):
            found.setdefault(one.case, []).append(one)
        rows += [_judge_case(claim, comparisons) for comparisons in found.values()]
    return rows


def _judge_case(claim: Claim, comparisons: Sequence[Compared]) -> Row:
    """Return the row of a case: that of the comparison which decides it."""
    rivals = sum(one.effect is not None for one in comparisons)
    judged = [(_verdict(claim, one, rivals), one) for one in comparisons if not one.moot]
    moot = [one.missing for one in comparisons if one.moot]
    if not judged:
        return _row(claim, comparisons[0], Verdict(NOT_MEASURED, "; ".join(moot)))
    missing = _missing(judged)
    measured = [(verdict, one) for verdict, one in judged if verdict.word != NOT_MEASURED]
    if not measured:
        return _row(claim, judged[0][1], Verdict(NOT_MEASURED, "; ".join(missing)))
    verdict, decisive = min(measured, key=_decides)
    told = dict.fromkeys(text for _, one in measured for text in one.told)
    more = [*missing, *told, *moot]
    if missing and verdict.word == SUPPORTED and claim.expected != "not_behind":
        # The others are beaten, which is less than what is claimed.
        absent = next(one for verdict, one in judged if verdict.word == NOT_MEASURED)
        reasons = [f"beaten: {_rivals(measured)}", *more]
        return _row(claim, absent, Verdict(NOT_MEASURED, "; ".join(reasons)))
    reasons = [f"{decisive.name}: {verdict.reason}" if len(judged) > 1 else verdict.reason]
    alike = [(v, one) for v, one in measured if v.word == verdict.word and one is not decisive]
    if alike and verdict.word != SUPPORTED:
        reasons.append(f"{verdict.word} as well: {_rivals(alike)}")
    return _row(claim, decisive, Verdict(verdict.word, "; ".join([*reasons, *more])))


def _rivals(judged: Sequence[tuple[Verdict, Compared]]) -> str:
    return ", ".join(one.rival for _, one in judged)


def _missing(judged: Sequence[tuple[Verdict, Compared]]) -> list[str]:
    """Return what was not run, together, and what else is missing."""
    reasons = dict.fromkeys(v.reason for v, _ in judged if v.word == NOT_MEASURED)
    names = [r.removeprefix(NOT_RUN) for r in reasons if r.startswith(NOT_RUN)]
    others = [reason for reason in reasons if not reason.startswith(NOT_RUN)]
    return [*([NOT_RUN + ", ".join(names)] if names else []), *others]


def _verdict(claim: Claim, one: Compared, rivals: int) -> Verdict:
    if one.effect is None:
        # A rival that goes further is not beaten.
        return Verdict(UNDECIDED if one.is_beyond_subject else NOT_MEASURED, one.missing)
    if one.is_same_network and claim.expected == "not_behind":
        return Verdict(SUPPORTED, "the same network in all seeds")
    return judge(claim, one.effect, rivals)


def _decides(judged: tuple[Verdict, Compared]) -> tuple[int, float]:
    verdict, one = judged
    return ORDER.index(verdict.word), one.effect.mean if one.effect else 0.0


def _row(claim: Claim, one: Compared, verdict: Verdict) -> Row:
    effect = one.effect
    low, high = (effect.interval() if effect else None) or (None, None)
    return {
        "claim": claim.claim,
        "statement": claim.statement,
        "experiment": one.case.experiment,
        "budget": one.case.budget,
        "compared": one.name,
        "effect": effect.mean if effect else None,
        "low": low,
        "high": high,
        "seeds": effect.seeds if effect else 0,
        "smallest_effect": claim.smallest_effect,
        "verdict": verdict.word,
        "reason": verdict.reason,
    }


def overall(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the verdict on a claim in all its cases.

    It is refuted if it is in one, and supported if it is wherever it was measured.
    """
    words = {row["verdict"] for row in rows}
    return next((word for word in ORDER if word in words), NOT_MEASURED)


def by_claim(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of each claim."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["claim"], []).append(row)
    return found


def readable(claims: Sequence[Claim], rows: Sequence[Row]) -> str:
    """Return the verdicts for people, in Markdown: of every claim, then of every case."""
    known = {one.claim: one for one in claims}
    cases = [
        [name, known[name].statement, overall(own), *(_count(own, word) for word in WORDS)]
        for name, own in by_claim(rows).items()
    ]
    header = ["claim", "experiment", "budget", "compared", "effect", "95 % interval", "unit"]
    header += ["seeds", "verdict", "reason"]
    details = [list(_cells(known[row["claim"]], row)) for row in rows]
    return (
        markdown(["claim", "statement", "verdict", *(f"{word} in" for word in WORDS)], cases)
        + "\n"
        + markdown(header, details)
        + f"\n- Where there are several rivals the row has the one that decides. Fewer than "
        f"{FEWEST_SEEDS} seeds decide nothing. Claims are not corrected for their number.\n"
    )


def overview(rows: Sequence[Row]) -> list[str]:
    """Return a line for each claim: its verdict, and where it was judged."""
    lines = []
    for name, own in by_claim(rows).items():
        counts = ", ".join(f"{word} in {_count(own, word)}" for word in WORDS if _has(own, word))
        lines.append(f"{name}: {overall(own)} ({counts} of {len(own)})")
    return lines


def _has(rows: Sequence[Mapping[str, Any]], word: str) -> bool:
    return any(row["verdict"] == word for row in rows)


WORDS = (SUPPORTED, REFUTED, UNDECIDED, NOT_MEASURED)


def _count(rows: Sequence[Mapping[str, Any]], word: str) -> str:
    return str(sum(row["verdict"] == word for row in rows))


def _cells(claim: Claim, row: Row) -> Iterator[str]:
    scale = MEASURES[claim.measure].scale
    digits = 2 if scale > 1 else 3
    yield from (row["claim"], row["experiment"], row["budget"] or "-", row["compared"])
    if row["effect"] is None:
        yield from ("-", "-")
    else:
        yield f"{scale * row['effect']:+.{digits}f}"
        ends = (row["low"], row["high"])
        shown = ", ".join(f"{scale * end:+.{digits}f}" for end in ends if end is not None)
        yield f"[{shown}]" if shown else "-"
    yield from (_unit(claim), str(row["seeds"]), row["verdict"], row["reason"])


def _unit(claim: Claim) -> str:
    return MEASURES[claim.measure].unit
