"""What the tests of the pipeline share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]

NOTEBOOK = """# %% tags=["parameters"]
profile = "quick"

# %%
import time

import matplotlib.pyplot as plt
import torch

from companion.pipeline.run import Run

run = Run("02_mass_layer", profile)
run.record(method="first", value=torch.rand(()), n=run.settings.shifts)
time.sleep(1)  # long enough to be killed in

# %%
fig, ax = plt.subplots()
ax.plot(torch.rand(9))
run.figure(fig, "curve")
run.record(method="second", value=torch.rand(()), n=run.settings.shifts)
"""
SETTINGS = "profiles: [quick]\nquick:\n  02_mass_layer: {seed: 0, size: 64, shifts: 8}\n"


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


def _environment(folder: Path) -> dict[str, str]:
    """Variables under which a small project uses its own code, and git and DVC nobody's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_", "PYTEST_"))}
    names = {f"GIT_{role}_{field}": "nobody" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
    return kept | names | {
        "PYTHONPATH": str(folder / "src"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_GLOBAL_CONFIG_DIR": str(folder.parent),
        "DVC_SYSTEM_CONFIG_DIR": str(folder.parent),
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
    }  # fmt: skip


def lend_python(folder: Path) -> None:
    """A .venv that make finds ready: this very Python."""
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / ".venv/.installed").write_text(str(folder))


class Project:
    """A project of one small notebook with the real code around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = _environment(folder)

    def say(self, *command: str, fails: bool = False) -> subprocess.CompletedProcess:
        """Run a command in it, which must succeed (or fail)."""
        answer = subprocess.run(
            command, check=False, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert bool(answer.returncode) == fails, answer.stdout + answer.stderr
        return answer

    def clone(self, name: str) -> "Project":
        """Another clone, beside it."""
        target = self.folder.parent / name
        self.say("git", "clone", "-q", str(self.folder), str(target))
        return self.at(target)

    def at(self, folder: Path) -> "Project":
        """The one in another folder."""
        lend_python(folder)
        return Project(folder)


@pytest.fixture
def project(tmp_path) -> Project:
    """A project of one small notebook, committed."""
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    names = (
        "Makefile",
        ".dvcignore",
        ".gitignore",
        ".gitattributes",
        ".dvc/config",
        ".dvc/.gitignore",
        "requirements.lock",
    )
    for name in (*names, "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "notebooks/02_mass_layer.py").write_text(NOTEBOOK)
    (folder / "params.yaml").write_text(SETTINGS)
    pipeline = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
    stage = pipeline["stages"]["02_mass_layer"]
    stage["do"]["deps"] = ["notebooks/02_mass_layer.py"]
    pipeline["stages"] = {"02_mass_layer": stage}
    YAML().dump(pipeline, folder / "dvc.yaml")
    lend_python(folder)
    made = Project(folder)
    made.say("git", "init", "-q", "-b", "main")
    made.say("git", "add", ".")
    made.say("git", "commit", "-qm", "start")
    return made
