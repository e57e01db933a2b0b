"""Draw a published notebook anew from its published records: `python -m companion.publishing.redraw 05_cifar10`.

For notebooks whose runs took an accelerator or hours, when their words, tables or figures have changed and their
measurements have not. Cells tagged `measures` are not run. The names that later cells take from them are read from
results/ (`published` in the study's folder), and such a cell keeps its output where its source is as it was when it
ran. All other cells run, so that everything shown follows from what is published; a notebook that measures in cells
without the tag is refused. Where no code of the notebook has changed since, nothing runs: the words are taken over, and
cells that show a published table show it as it is now. --figures has the cells run nevertheless, for figures whose own
code has changed. No record is made.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from companion.core.errors import Refusal
from companion.core.files import write_json
from companion.core.paths import FOLDER_VARIABLE, find_root, source_path
from companion.core.published import read_results, topic_of
from companion.core.records import Record
from companion.pipeline.clean_outputs import strip
from companion.pipeline.execute import _own_kernel
from companion.pipeline.notebook_source import read_source, set_parameters
from companion.publishing.publish import publish
from companion.publishing.shown_tables import show_tables

MEASURES = "measures"


def redrawn(root: Path, notebook: str, folder: Path, figures: bool = False) -> NotebookNode:
    """The notebook, executed but for what it measures, in the profile that is published; its figures go to `folder`."""
    before = nbformat.read(root / "notebooks" / f"{notebook}.ipynb", as_version=4)
    found = re.search(r'profile = "(\w+)"', "\n".join(cell.source for cell in before.cells))
    if found is None:
        raise Refusal(f"notebooks/{notebook}.ipynb does not say its profile.")
    source = read_source(source_path(root, notebook))
    if not figures and (reworded := _reworded(before, source)) is not None:
        show_tables(reworded, root)
        return reworded
    set_parameters(source, {"profile": found[1]}, f"notebooks/{notebook}.py")
    measuring = [cell for cell in source.cells if MEASURES in cell.metadata.get("tags", [])]
    if not measuring and any("run.record" in cell.source for cell in source.cells):  # it would measure without a record
        raise Refusal(f"{notebook} measures, in cells without the tag '{MEASURES}': run it and publish its run.")
    given = f"from companion.publishing.redraw import names\nglobals().update(names({notebook!r}, {found[1]!r}))"
    sources = [cell.source for cell in measuring]
    for number, cell in enumerate(measuring):
        cell.source = "pass" if number else given
    executed = copy.deepcopy(source)
    kernel = _own_kernel(dict(os.environ) | {FOLDER_VARIABLE: str(folder), "TQDM_DISABLE": "1"})
    manager = kernel(kernel_name="python3")
    NotebookClient(executed, km=manager, resources={"metadata": {"path": str(root / "notebooks")}}).execute()
    strip(executed, root)
    outputs = {cell.source: cell.outputs for cell in before.cells if cell.cell_type == "code"}
    for cell, text in zip((c for c in executed.cells if MEASURES in c.metadata.get("tags", [])), sources, strict=True):
        cell.source, cell.outputs = text, outputs.get(text, [])
    return executed


def _reworded(before: NotebookNode, source: NotebookNode) -> NotebookNode | None:
    """The published notebook with the source's words, where its code is the source's."""
    ran, written = ([c for c in book.cells if c.cell_type == "code"] for book in (before, source))
    if [c.source for c in ran if not _sets_profile(c)] != [c.source for c in written if not _sets_profile(c)]:
        return None
    outputs = iter(ran)
    after = copy.deepcopy(before)
    after.cells = [next(outputs) if cell.cell_type == "code" else cell for cell in source.cells]
    for cell, written in zip(after.cells, [cell.id for cell in source.cells], strict=True):
        cell.id = written  # by place, also behind a cell of words that is new
    return after


def _sets_profile(cell: NotebookNode) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def names(notebook: str, profile: str) -> dict[str, list[Record]]:
    """What later cells take from those that measure, as published."""
    topic = topic_of(notebook)
    study = importlib.import_module(f"companion.studies.{topic}.published")
    records = [r for r in read_results(find_root(), topic) if r["profile"] == profile]
    made: dict[str, list[Record]] = study.names(records)
    return made


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m companion.publishing.redraw", description=__doc__.split("\n\n")[0])
    parser.add_argument("notebook", help="its name without extension, e.g. 05_cifar10")
    parser.add_argument(
        "--figures", action="store_true", help="draw all figures anew, though no code of the notebook changed"
    )
    arguments = parser.parse_args()
    notebook = arguments.notebook
    root = find_root()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / notebook
        folder.mkdir()
        try:
            executed = redrawn(root, notebook, folder, arguments.figures)
            shutil.rmtree(folder / "records", ignore_errors=True)
            (folder / "records").mkdir()
            facts = folder / "provenance.json"
            if not facts.exists():
                write_json(facts, {"notebook": notebook, "profile": "redrawn", "modified": False})
            (folder / "notebook.ipynb").write_text(nbformat.writes(executed) + "\n", encoding="utf-8")
            print("\n".join(publish(root, [folder])))
        except Refusal as refusal:
            sys.exit(f"redraw: {refusal}")


if __name__ == "__main__":
    main()
