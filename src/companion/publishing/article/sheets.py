"""The studies' tables as the article sets them: columns, rows and a note, read off their Markdown."""

from __future__ import annotations

import re
from typing import TypedDict


class Sheet(TypedDict):
    """A table without its markup: every cell is plain text."""

    columns: list[str]
    rows: list[list[str]]
    note: str


def sheet(markdown: str) -> Sheet | None:
    """A table of `companion.core.markdown.table`; None of one that says that nothing is published.

    >>> made = sheet("| Method | n |\\n| --- | --- |\\n| **MASS** | 3 |\\n\\nOf [three](docs/x.md) `seeds`.")
    >>> made["columns"], made["rows"], made["note"]
    (['Method', 'n'], [['MASS', '3']], 'Of three seeds.')
    """
    lines = [line for line in markdown.splitlines() if line]
    if not lines or not lines[0].startswith("|"):
        return None
    head, _, *rows = (_cells(line) for line in lines if line.startswith("|"))
    return {"columns": head, "rows": rows, "note": _plain(" ".join(line for line in lines if line[0] != "|"))}


def _cells(line: str) -> list[str]:
    return [_plain(cell.strip()) for cell in line[1:-1].split("|")]


def _plain(text: str) -> str:
    """Without links, bold and code."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("**", "").replace("`", "")
