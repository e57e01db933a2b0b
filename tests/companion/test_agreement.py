"""The files that describe the project agree with each other."""

import ast
import json
import re
import tomllib
from pathlib import Path

import jupytext
import pytest
from jupytext.config import load_jupytext_configuration_file
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

from companion.config import NOTEBOOKS
from companion.sources import FILES

ROOT = Path(__file__).parents[2]
PIPELINE = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
# How a notebook is run and its inputs found, as opposed to what it computes with: no stage depends on it.
PLUMBING = {"errors", "files", "manifest", "paths", "run", "sources"}


def sources() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.py"))


def test_every_notebook_is_a_stage_with_settings():
    assert [path.stem for path in sources()] == list(NOTEBOOKS)
    assert list(PIPELINE) == ["fetch", *NOTEBOOKS]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stage(name):
    assert PIPELINE[name]["foreach"] == "${profiles}"
    stage = PIPELINE[name]["do"]
    assert stage["desc"] and stage["cmd"] == "${python} -m companion.runner " + name + " --profile ${item}"
    assert stage["params"] == ["${item}." + name]
    kept = [out for out in stage["outs"] if isinstance(out, dict)]  # what takes long to make
    assert kept in ([], [{"checkpoints/${item}/" + name: {"persist": True}}])
    for out in [*(out for out in stage["outs"] if out not in kept), *stage["metrics"], *stage["plots"]]:
        assert out.startswith("runs/${item}/" + name + "/")
    fetched = {f"data/{source.name}/{source.file}" for source in FILES if source.required}
    for dependency in stage["deps"]:
        assert dependency in fetched or (ROOT / dependency).exists(), dependency
    assert {f"notebooks/{name}.py", "src/mass"} <= set(stage["deps"])


def test_the_stage_fetch_makes_what_the_quick_profile_requires():
    outs = {path for out in PIPELINE["fetch"]["outs"] for path in out}
    assert outs == {f"data/{source.name}/{source.file}" for source in FILES if source.required}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_notebook_source(path):
    notebook = jupytext.read(path, fmt="py:percent")
    assert notebook.metadata.kernelspec.name == "python3", "without a kernelspec Jupyter asks for a kernel"
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert [cell.source for cell in tagged] == ['profile = "quick"']
    assert f'Run("{path.stem}", profile)' in path.read_text()


def imported(path: Path, known: frozenset[str] = frozenset()) -> set[str]:
    """The companion's modules that a file computes with, and those that they compute with."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "companion":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("companion."):
            found.add(node.module.removeprefix("companion."))
    found -= PLUMBING
    for module in found - known:
        found |= imported(ROOT / "src/companion" / f"{module}.py", known | found)
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_a_stage_names_the_files_its_notebook_imports(path):
    named = {name for name in PIPELINE[path.stem]["do"]["deps"] if name.startswith("src/companion/")}
    assert named == {f"src/companion/{module}.py" for module in imported(path)}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_saving_from_jupyter_leaves_the_source_unchanged(path):
    config = load_jupytext_configuration_file(str(ROOT / "jupytext.toml"))
    filters = {
        "notebook_metadata_filter": config.notebook_metadata_filter,
        "cell_metadata_filter": config.cell_metadata_filter,
    }
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata["jupytext"] = filters
    notebook.metadata["language_info"] = {"name": "python", "version": "3.12.0"}
    for cell in notebook.cells:
        cell.metadata["execution"] = {"iopub.status.busy": "now"}
    assert jupytext.writes(notebook, fmt="py:percent").rstrip() == path.read_text().rstrip()


def test_the_lock_pins_what_the_project_asks_for():
    pins = {canonicalize_name(name): Version(version) for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", LOCK)}
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *extras["paper"], *extras["docs"], *extras["dev"]]:
        requirement = Requirement(text)
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_the_lock_has_hashes_and_names_no_host():
    assert "://" not in LOCK and "index" not in LOCK
    entries = re.split(r"(?m)^(?=[a-z0-9])", LOCK)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)


def test_conda_installs_the_lock_into_a_supported_python():
    environment = YAML(typ="safe", pure=True).load(ROOT / "environment.yml")
    python, pip, packages = environment["dependencies"]
    assert python.removeprefix("python=") + ".0" in SpecifierSet(PROJECT["requires-python"])
    assert pip == "pip" and packages == {"pip": ["-r requirements.lock"]}


def test_jupyter_opens_sources_as_notebooks():
    settings = json.loads((ROOT / ".jupyter/labconfig/default_setting_overrides.json").read_text())
    assert settings["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"] == {"python": "Jupytext Notebook"}


def test_an_archive_without_git_tells_dvc_so():
    assert "$Format:%n    no_scm = true$" in (ROOT / ".dvc/config").read_text()
    assert ".dvc/config export-subst" in (ROOT / ".gitattributes").read_text()
