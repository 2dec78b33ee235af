"""Tables as Markdown and LaTeX."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "±": r"$\pm$"}


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is aligned left, the others right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def latex(header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Return a LaTeX tabular for the package booktabs, with notes below it."""
    columns = "l" + "r" * (len(header) - 1)
    body = "".join(" & ".join(map(_escape, cells)) + r" \\" + "\n" for cells in rows)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        + " & ".join(map(_escape, header))
        + f" \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
        + _latex_notes(notes)
    )


def _latex_notes(notes: Sequence[str]) -> str:
    """Return notes in a group of their own, so that what follows the table keeps its size."""
    lines = "".join(f"{_escape(note)}\\par\n" for note in notes)
    return f"\\par{{\\footnotesize\n{lines}}}\n" if notes else ""


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and sample standard deviation, None for a single value."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), spread


def percent(mean: float, spread: float | None = None, digits: int = 2) -> str:
    """Return a fraction in percent, with its spread where there is one."""
    text = f"{100 * mean:.{digits}f}"
    return text if spread is None else f"{text} ± {100 * spread:.{digits}f}"


def points(difference: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a difference of fractions in points, with its interval where there is one."""
    if difference is None:
        return "-"
    text = f"{100 * difference:+.2f}"
    return text if low is None or high is None else f"{text} [{100 * low:+.2f}, {100 * high:+.2f}]"


def scaled(value: float) -> str:
    """Return a count with three digits and a unit prefix: ``4.30 M``."""
    for limit, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * limit:  # which three digits round to it
            return f"{value / limit:#.3g}".rstrip(".") + f" {prefix}"
    return f"{value:.3g}"


def plain(value: float, form: str = ".3g") -> str:
    """Return a number in some digits, and never with a power of ten where it is large.

    Parameters
    ----------
    value
        The number.
    form
        How it is written where all its digits before the point are among those: ``.3g``.
    """
    text = f"{value:{form}}".rstrip(".")
    return f"{value:.0f}" if "e+" in text else text


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
