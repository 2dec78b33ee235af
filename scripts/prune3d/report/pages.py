"""Tables as pages for a browser, of the Markdown that people read elsewhere."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prune3d.report.text import markdown

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.25rem; margin: 0 0 .75rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #ddd; text-align: right; }
td { vertical-align: top; white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
.name { text-align: left; }
td.text { min-width: 14rem; white-space: normal; }
@media (max-width: 600px) { th { white-space: nowrap; } }
ul { padding-left: 1.2rem; max-width: 60rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
"""
# Longer cells are sentences, not numbers or names.
_LONGEST_NAME = 28


def page(title: str, text: str) -> str:
    """Return a page of its own, without anything to load.

    Parameters
    ----------
    title
        Its heading.
    text
        Tables and lists in Markdown as `prune3d.report.text` writes them, headings of the second
        level, and paragraphs.
    """
    body = "\n".join(_blocks(text))
    heading = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{heading}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{heading}</h1>\n{body}\n</body>\n</html>\n"
    )


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as a Markdown table; None is a dash."""
    header = [column.replace("_", " ") for column in columns]
    return markdown(header, [[_shown(row[column]) for column in columns] for row in rows])


def preformatted(text: str) -> str:
    """Return text that keeps its lines."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def _shown(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)


def _blocks(text: str) -> Iterator[str]:
    """Yield the HTML of each block; blank lines are between them."""
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.split("\n")
        if lines[0].startswith("|"):
            yield _table([_cells(line) for line in lines if line.startswith("|")])
            lines = [line for line in lines if not line.startswith("|")]
        if lines and lines[0].startswith("    "):
            yield f"<pre>{html.escape(chr(10).join(line[4:] for line in lines))}</pre>"
        elif lines and lines[0].startswith("## "):
            yield f"<h2>{html.escape(lines[0][3:])}</h2>"
        elif lines and lines[0].startswith("- "):
            items = "".join(f"<li>{_linked(line[2:])}</li>" for line in lines if line)
            yield f"<ul>{items}</ul>"
        elif any(line.strip() for line in lines):
            yield f"<p>{_linked(' '.join(lines))}</p>"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, _, *body = rows
    names = [_are_names(i, [row[i] for row in body]) for i in range(len(header))]
    head = "".join(
        f"<th{_class(named)}>{html.escape(cell)}</th>"
        for cell, named in zip(header, names, strict=True)
    )
    lines = "".join(f"<tr>{''.join(map(_cell, row, names))}</tr>\n" for row in body)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{lines}</table></div>'


def _are_names(column: int, cells: Sequence[str]) -> bool:
    """Tell whether a column has names or sentences: the first one, or one that begins so."""
    return column == 0 or any(cell[:1].isalpha() for cell in cells)


def _cell(text: str, named: bool) -> str:
    is_long = named and len(text) > _LONGEST_NAME and " " in text
    return f"<td{_class(named, 'text' if is_long else '')}>{_linked(text)}</td>"


def _class(named: bool, more: str = "") -> str:
    words = " ".join(word for word in ("name" if named else "", more) if word)
    return f' class="{words}"' if words else ""


def _linked(text: str) -> str:
    escaped = html.escape(text)
    return re.sub(
        r"https://[^\s&<]+", lambda found: f'<a href="{found[0]}">{found[0]}</a>', escaped
    )
