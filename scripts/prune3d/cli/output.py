"""What a command prints: JSON for machines, tables for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Shown:
    """A table.

    Attributes
    ----------
    title
        Above it.
    columns
        Names; those that end in ``>`` are numbers.
    rows
        A text or number for each column.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def show(value: dict[str, Any], as_json: bool, *parts: Shown | str) -> None:
    """Print a value as JSON, or tables and sentences."""
    if as_json:
        typer.echo(json.dumps(value, indent=1, sort_keys=True))
        return
    for part in parts:
        if isinstance(part, str):
            typer.echo(part)
        elif part.rows:
            _print(part)


def _print(shown: Shown) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        # Lines that a pipe gets are as long as they are.
        console = Console(highlight=False, width=10_000)
    if shown.title:
        typer.echo(f"\n{shown.title}")
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in shown.columns:
        table.add_column(
            Text(column.rstrip(">")), justify="right" if column.endswith(">") else "left"
        )
    for row in shown.rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    console.print(table)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
