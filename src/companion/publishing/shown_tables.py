"""Cells of executed notebooks that show a published table: publishing writes their outputs anew, as it does the pages' tables."""

from __future__ import annotations

import re
from pathlib import Path

from nbformat import NotebookNode

from companion.core.errors import Refusal
from companion.publishing.readme import TABLES

_SHOWS = re.compile(r"""Markdown\((?:tables\.(\w+)\(run\.root\)|run\.published\("(\w+)"\))\)""")


def show_tables(notebook: NotebookNode, root: Path) -> bool:
    """Have cells that are `Markdown(tables.NAME(run.root))` or `Markdown(run.published("NAME"))` show that table as it is now.

    Returns:
        Whether any shows another one than before. Cells that were not executed stay so.

    Raises:
        Refusal: for a table that no study publishes: it would grow stale unseen.
    """
    changed = False
    for cell in notebook.cells:
        shows = _SHOWS.fullmatch(cell.source.strip()) if cell.cell_type == "code" else None
        if not shows:
            continue
        name = shows[1] or shows[2]
        if name not in TABLES:
            raise Refusal(f"A notebook shows a table {name!r} that no study publishes; known: {', '.join(TABLES)}.")
        if cell.outputs:
            data, text = cell.outputs[0]["data"], TABLES[name](root)
            changed |= data.get("text/markdown") != text
            data["text/markdown"] = text
    return changed
