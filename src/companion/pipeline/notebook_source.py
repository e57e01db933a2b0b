"""From the percent-format source of a notebook to cells that can be executed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode

from companion.core.errors import Refusal

_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def read_source(path: Path) -> NotebookNode:
    """The notebook, with cell ids that are the same at every reading."""
    if not path.is_file():
        raise Refusal(f"There is no notebook notebooks/{path.name}.")
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = NotebookNode(kernelspec=_KERNEL, language_info={"name": "python"})
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:03d}"
    return notebook


def set_parameters(notebook: NotebookNode, values: dict[str, Any], name: str) -> None:
    """Write values into the assignments of the cell tagged `parameters`.

    Inside that cell, not in one injected after it: the executed notebook then shows what was run. Without the check
    a missing tag or a misspelt name would silently run the defaults.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise Refusal(
            f"{name} must have one cell tagged `parameters` (it has {len(cells)}), or its defaults would run."
        )
    lines = cells[0].source.splitlines()
    assigned = {
        statement.targets[0].id: statement
        for statement in ast.parse(cells[0].source).body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    for parameter, value in values.items():
        if parameter not in assigned:
            known = ", ".join(assigned) or "none"
            raise Refusal(f"{name} has no parameter {parameter!r} in its `parameters` cell (known: {known}).")
        old = assigned[parameter].value
        if old.lineno != old.end_lineno:
            raise Refusal(f"{name}: the parameter {parameter!r} must stand on one line.")
        text = lines[old.lineno - 1].encode()  # ast counts columns in bytes
        new = repr(value).replace("'", '"') if isinstance(value, str) else repr(value)
        lines[old.lineno - 1] = (text[: old.col_offset] + new.encode() + text[old.end_col_offset :]).decode()
    cells[0].source = "\n".join(lines)
