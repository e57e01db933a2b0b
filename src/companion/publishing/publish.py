"""Publish runs: `python -m companion.publishing.publish [--profile quick] [--records FOLDER]`, or `make publish PROFILE=quick`.

Records are merged into results/, figures copied to figures/, executed notebooks to notebooks/*.ipynb, and the tables
of README.md, docs/*.md, all notebooks and the studies' pages (docs/zoo.html) written anew from results/. --records publishes runs made elsewhere,
without DVC: the folder may hold one run, or as many as it likes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from companion.core.errors import Refusal
from companion.core.files import read_json, write_atomic
from companion.core.paths import find_root
from companion.core.process import exclusive
from companion.core.provenance import any_modified
from companion.core.published import merge, read_results, records_of, topic_of, write_results
from companion.core.records import Record
from companion.pipeline.clean_outputs import output_texts, refuse_traces
from companion.pipeline.settings import load_config
from companion.publishing.compress import NOTEBOOK, shrink_figure, shrink_notebook
from companion.publishing.readme import pages, refresh
from companion.publishing.shown_tables import show_tables
from companion.studies import all_studies

# Not results: a run that has not finished, and what was tried out in JupyterLab.
_UNFINISHED = {".partial", "interactive"}

# What is said of the code of a run, unless it is known to be that of its commit.
_CHANGED = {True: "was run with changes that no commit holds", None: "is of code whose changes are unknown"}


def find_runs(folder: Path) -> list[Path]:
    """The finished runs below a folder, in the notebooks' order."""
    if not folder.is_dir():
        raise Refusal(f"There is no folder {folder}: run `make repro` first, or name the folder of the records.")
    found = [path.parent for path in folder.rglob("provenance.json") if (path.parent / "records").is_dir()]
    return sorted(run for run in found if not _UNFINISHED & set(run.relative_to(folder).parts))


@dataclass(frozen=True)
class _Found:
    """A run as it was read."""

    notebook: str
    profile: str
    modified: bool | None  # None: nobody can tell
    records: list[Record]
    figures: dict[str, bytes]
    content: NotebookNode | None


def publish(root: Path, runs: list[Path]) -> list[str]:
    """Publish runs; returns a line each about what changed, and about what could not be published.

    All is read before anything is written: what is broken stops it while the tree is as it was.
    """
    said = []
    with exclusive(root / "runs" / ".locks" / "publish", "Publishing"):
        for path in (root / "results").glob("*.json"):  # the tables read them all
            read_results(root, path.stem)
        for page in pages(root):
            refresh(page, root)
        for found in [_read(run) for run in runs]:
            name = f"{found.notebook} ({found.profile})"
            said += [f"{name}: {line}" for line in _write_run(root, found)]
            if found.modified in _CHANGED:
                said.append(f"{name}: {_CHANGED[found.modified]}.")
        for page in pages(root):
            if _write(page, refresh(page, root)):
                said.append(f"{page.relative_to(root).as_posix()}: tables written anew.")
        said += _show_tables_anew(root)
        for place, made in ((place, page) for study in all_studies() for place, page in study.pages.items()):
            text = made(root)
            if text is not None and _write(root / place, text):
                said.append(f"{place}.")
    return said


def _read(run: Path) -> _Found:
    facts, records = read_json(run / "provenance.json"), records_of(run)
    notebook, executed = facts["notebook"], run / "notebook.ipynb"
    found = _Found(
        notebook,
        facts["profile"],
        any_modified([facts["modified"], *(record["modified"] for record in records)]),
        records,
        {path.name: path.read_bytes() for path in sorted((run / "figures").glob("*.png"))},
        nbformat.read(executed, as_version=4) if executed.exists() else None,
    )
    _refuse_traces(found.records, found.content, notebook)
    return found


def _write_run(root: Path, found: _Found) -> list[str]:
    said, topic = [], topic_of(found.notebook)
    before = read_results(root, topic)
    merged = merge(before, found.records)
    if merged != before:
        write_results(root, topic, merged)
        said.append(f"{len(found.records)} records, results/{topic}.json now holds {len(merged)}.")
    for name, picture in found.figures.items():
        target = root / "figures" / f"{found.notebook[:2]}_{name}"
        if _write(target, shrink_figure(picture)):
            said.append(f"figures/{target.name}.")
    if found.content is not None:
        text = shrink_notebook(found.content)
        if text is None:
            said.append(f"its notebook cannot be brought under {NOTEBOOK / 1e6:.0f} MB and is not published.")
        elif _write(root / "notebooks" / f"{found.notebook}.ipynb", text):
            said.append(f"notebooks/{found.notebook}.ipynb.")
    return said


def _show_tables_anew(root: Path) -> list[str]:
    said = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        content = nbformat.read(path, as_version=4)
        if show_tables(content, root) and (text := shrink_notebook(content)) is not None and _write(path, text):
            said.append(f"notebooks/{path.name}: tables written anew.")
    return said


def _refuse_traces(records: list[Record], content: NotebookNode | None, notebook: str) -> None:
    for record in records:
        refuse_traces(" ".join(map(str, record.values())), f"A record of {notebook}")
    if content is not None:
        refuse_traces(" ".join(output_texts(content)), f"The notebook {notebook}")


def _write(path: Path, content: str | bytes) -> bool:
    """Write what differs; whether it did."""
    content = content.encode() if isinstance(content, str) else content
    if path.exists() and path.read_bytes() == content:
        return False
    write_atomic(path, content)
    return True


def _run_folders(root: Path, profile: str) -> list[Path]:
    return [root / "runs" / name for name in ([profile] if profile else load_config(root).profiles)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m companion.publishing.publish", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--profile", default="", help="the profile to publish; default: those of params.yaml")
    parser.add_argument("--records", type=Path, help="publish the runs below this folder instead of runs/<profile>")
    arguments = parser.parse_args()
    try:
        root = find_root()
        folders = [arguments.records] if arguments.records else _run_folders(root, arguments.profile)
        runs = [run for folder in folders for run in find_runs(folder)]
        if not runs:
            raise Refusal(f"There are no finished runs in {', '.join(map(str, folders))}: run `make repro` first.")
        said = publish(root, runs)
        print("\n".join(said) if said else "Nothing to publish: all is as it was.")
    except Refusal as refusal:
        sys.exit(f"publish: {refusal}")


if __name__ == "__main__":
    main()
