"""What `make repro` says at the end: every notebook's records as a table, seconds per stage, and where to look."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas

from companion.core.command_line import names_given
from companion.core.errors import Refusal
from companion.core.files import read_json
from companion.core.paths import find_root, run_folder
from companion.core.records import read_records
from companion.pipeline.settings import load_config

# The same in every row of a table, or only there to order it.
_PLUMBING = ("row", "notebook", "profile")


def results_table(folder: Path) -> str | None:
    """The records of one run as text; columns that hold one value throughout become a line of their own."""
    table = pandas.DataFrame(read_records(folder / "records")).drop(columns=list(_PLUMBING), errors="ignore")
    if table.empty:
        return None
    constant = [name for name in table.columns if len(table) > 1 and table[name].nunique(dropna=False) == 1]
    same = ", ".join(f"{name} {table[name].iloc[0]}" for name in constant)
    text = table.drop(columns=constant).to_string(index=False, na_rep="", float_format=lambda value: f"{value:.6g}")
    return f"{text}\n(all: {same})" if same else text


def report(root: Path) -> str:
    """Everything, for the profiles of params.yaml."""
    parts, seconds = [], []
    config = load_config(root)
    for profile in config.profiles:
        for notebook in config.settings[profile]:
            folder = run_folder(root, profile, notebook)
            if not (folder / "notebook.ipynb").exists():
                seconds.append(f"{notebook:<22} {profile:<8}  not run")
                continue
            if table := results_table(folder):
                parts.append(f"{notebook} ({profile})\n{table}")
            took = read_json(folder / "provenance.json").get("seconds")
            seconds.append(f"{notebook:<22} {profile:<8} {took:6} s  {(folder / 'notebook.ipynb').relative_to(root)}")
    return "\n\n".join([*parts, "\n".join(["Seconds per stage, and the executed notebooks", *seconds])])


def main() -> None:
    """The command line."""
    names_given(__doc__)
    try:
        print(report(find_root()))
    except Refusal as refusal:
        sys.exit(f"report: {refusal}")


if __name__ == "__main__":
    main()
