"""What `make repro` does: `python -m companion.pipeline.reproduce [--profile quick] [--only 02] [--mirror FOLDER]`.

It selects the profile, fetches what a mirror folder has, has DVC run the stages that are not up to date, and reports.
Plain `dvc repro` does the middle part alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from companion.core.errors import Refusal
from companion.core.jobs import EXECUTOR, Resources
from companion.core.paths import find_root, require_own_python, run_folder
from companion.core.process import die_with_parent
from companion.fetching.fetch import fetch_inputs
from companion.pipeline.locks import clear_dead_locks
from companion.pipeline.report import report
from companion.pipeline.settings import choose_profile, load_config


def stages(root: Path, only: str) -> list[str]:
    """DVC's names of the notebooks that start with `only` (several by commas), in the selected profiles."""
    config = load_config(root)
    names = [name for part in only.replace(",", " ").split() for name in _starting_with(part, config.settings)]
    return [f"{name}@{profile}" for profile in config.profiles for name in names if name in config.settings[profile]]


def _starting_with(part: str, settings: dict[str, dict]) -> list[str]:
    known = sorted({name for notebooks in settings.values() for name in notebooks})
    found = [name for name in known if name.startswith(part)]
    if not found:
        raise Refusal(f"ONLY={part} names no notebook; known: {', '.join(known)}.")
    return found


def reproduce(root: Path, profile: str, only: str, mirror: Path | None) -> int:
    """Run what is not up to date; returns DVC's exit code."""
    from dvc.cli import main as dvc  # takes a second to load: after die_with_parent

    require_own_python(root)
    if profile and choose_profile(root, profile):
        print(f"params.yaml now says: profiles: [{profile}]")
    targets = stages(root, only)
    if mirror:
        fetch_inputs(root, mirror)
    clear_dead_locks(root)
    started = time.time()
    code = dvc(["repro", *targets])
    if code == 0:
        print(f"\n{report(root)}\n")
        print(_summary(root, started))
    return code


def _summary(root: Path, started: float) -> str:
    config = load_config(root)
    folders = [run_folder(root, profile, name) for profile in config.profiles for name in config.settings[profile]]
    ran = [folder.name for folder in folders if _written(folder) >= started]
    took = f"{time.time() - started:.0f} s"
    return (
        f"Ran {len(ran)} of {len(folders)} notebooks in {took}."
        if ran
        else f"Nothing to do: all is up to date ({took})."
    )


def _written(folder: Path) -> float:
    path = folder / "notebook.ipynb"
    return path.stat().st_mtime if path.exists() else 0.0


def main() -> None:
    """The command line; empty values count as not given, so that make can pass its variables on."""
    parser = argparse.ArgumentParser(
        prog="python -m companion.pipeline.reproduce", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--profile", default="", help="the profile to select in params.yaml")
    parser.add_argument("--only", default="", help="only the notebooks whose names start so, e.g. 02")
    parser.add_argument(
        "--executor", default="", help='trainings as jobs: "slurm gpus=1 hours=8 partition=long", local or dry-run'
    )
    parser.add_argument("--mirror", default="", help="a folder that has data sets and weights already")
    arguments = parser.parse_args()
    die_with_parent()
    try:
        if arguments.executor:
            Resources.read(arguments.executor)
            os.environ[EXECUTOR] = arguments.executor
        mirror = Path(arguments.mirror) if arguments.mirror else None
        sys.exit(reproduce(find_root(), arguments.profile, arguments.only, mirror))
    except Refusal as refusal:
        sys.exit(f"make repro: {refusal}")


if __name__ == "__main__":
    main()
