"""Pages: `python -m companion.publishing.site`, or `make docs`. The API from docstrings, and the notebooks as published."""

from __future__ import annotations

import os
import sys
from html import escape
from pathlib import Path

os.environ.setdefault("PDOC_ALLOW_EXEC", "1")  # jupytext asks for pandoc's version when it is imported

import nbformat
import pdoc
from nbconvert import HTMLExporter

from companion.core.errors import Refusal
from companion.core.files import write_atomic
from companion.core.paths import find_root
from companion.studies import all_studies

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>MASS</title>
<style>body {{ font: 1.1em/1.6 system-ui, sans-serif; max-width: 42em; margin: 3em auto; padding: 0 1em }}</style></head>
<body><h1>MASS: a paper one can run</h1>
<h2>Notebooks</h2><ul>{notebooks}</ul>
{pages}
<h2>Reference</h2><ul>
<li><a href="mass.html">mass</a>, the library</li>
<li><a href="companion.html">companion</a>, what makes the paper run</li></ul>
</body></html>
"""


def build(root: Path, target: Path) -> int:
    """Write all pages into `target`; returns how many notebooks are among them."""
    executed = sorted((root / "notebooks").glob("*.ipynb"))
    if not executed:
        raise Refusal("There are no executed notebooks in notebooks/: run `make repro && make publish` first.")
    pdoc.render.configure(docformat="google", math=True, footer_text="MASS, an independent reproduction")
    pdoc.pdoc("mass", "companion", output_directory=target)
    exporter = HTMLExporter()
    items = []
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
        write_atomic(target / f"{path.stem}.html", page)
        items.append(f'<li><a href="{path.stem}.html">{path.stem[:2]} {escape(_title(notebook, path.stem))}</a></li>')
    pages = []
    for study in all_studies():
        for place, render in study.pages.items():
            if (text := render(root)) is not None:
                name = Path(place).name
                write_atomic(target / name, text)
                pages.append(f'<li><a href="{name}">{escape(study.description)}</a></li>')
    further = f"<h2>Tables to be sorted</h2><ul>{''.join(pages)}</ul>" if pages else ""
    write_atomic(target / "index.html", _PAGE.format(notebooks="\n".join(items), pages=further))  # in place of pdoc's
    return len(items)


def _title(notebook: nbformat.NotebookNode, otherwise: str) -> str:
    """The first heading."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return cell.source.splitlines()[0].removeprefix("# ")
    return otherwise


def main() -> None:
    """The command line."""
    try:
        root = find_root()
        target = root / "build" / "docs"
        count = build(root, target)
        print(f"{(target / 'index.html').relative_to(root)}: {count} notebooks, and the reference.")
    except Refusal as refusal:
        sys.exit(f"docs: {refusal}")


if __name__ == "__main__":
    main()
