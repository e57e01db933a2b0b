"""Where things lie in the tree."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from companion.core.errors import Refusal

PARAMS = "params.yaml"

# Set by the runner for the kernel: where this run writes.
FOLDER_VARIABLE = "COMPANION_RUN"


def find_root(start: Path | None = None) -> Path:
    """The project's folder: the first one upwards of `start` (default: here) that holds params.yaml and dvc.yaml."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / PARAMS).is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise Refusal(f"No params.yaml beside a dvc.yaml in {start} or above it: start inside the project's folder.")


def require_own_python(root: Path) -> None:
    """Refuse a Python whose `companion` or `mass` is another checkout's: what it computes is none of this one's."""
    for package in ("companion", "mass"):
        code = find_spec(package)
        if code is None or not Path(str(code.origin)).resolve().is_relative_to(root.resolve() / "src"):
            raise Refusal(
                f"This Python's `{package}` belongs to another checkout of the project: "
                "run `make repro`, or activate this one's environment (source .venv/bin/activate)."
            )


def source_path(root: Path, notebook: str) -> Path:
    """The percent-format source of a notebook."""
    return root / "notebooks" / f"{notebook}.py"


def run_folder(root: Path, profile: str, notebook: str) -> Path:
    """Where a finished run of a notebook lies; DVC owns what is inside."""
    return root / "runs" / profile / notebook


def partial_folder(root: Path, profile: str, notebook: str) -> Path:
    """Where a run writes until it has finished."""
    return root / "runs" / profile / ".partial" / notebook
