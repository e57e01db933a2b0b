"""The files that describe the project agree with each other."""

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

from companion.core.published import topic_of
from companion.fetching.catalogue import FILES
from companion.pipeline.settings import NOTEBOOKS
from companion.pipeline.stages import pipeline, shared_code
from companion.studies import all_studies

ROOT = Path(__file__).parents[2]
PIPELINE = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


def sources() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.py"))


def test_every_notebook_is_a_stage_with_settings():
    assert [path.stem for path in sources()] == list(NOTEBOOKS)
    assert list(PIPELINE) == ["fetch", *NOTEBOOKS]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stage(name):
    assert PIPELINE[name]["foreach"] == "${profiles}"
    stage = PIPELINE[name]["do"]
    assert stage["desc"] and stage["cmd"] == "${python} -m companion.pipeline.execute " + name + " --profile ${item}"
    assert stage["params"] == ["${item}." + name]
    kept = [out for out in stage["outs"] if isinstance(out, dict)]  # what takes long to make
    assert kept in ([], [{"checkpoints/${item}/" + name: {"persist": True}}])
    for out in [*(out for out in stage["outs"] if out not in kept), *stage["metrics"], *stage["plots"]]:
        assert out.startswith("runs/${item}/" + name + "/")
    fetched = {f"data/{source.name}/{source.file}" for source in FILES if source.required}
    for dependency in stage["deps"]:
        assert dependency in fetched or (ROOT / dependency).exists(), dependency
    assert {f"notebooks/{name}.py", "src/mass", "requirements.lock"} <= set(stage["deps"])
    assert {f"src/companion/core/{module}.py" for module in ("device", "intervals")} <= set(stage["deps"])


def test_the_stage_fetch_makes_what_the_quick_profile_requires():
    outs = {path for out in PIPELINE["fetch"]["outs"] for path in out}
    assert outs == {f"data/{source.name}/{source.file}" for source in FILES if source.required}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_notebook_source(path):
    notebook = jupytext.read(path, fmt="py:percent")
    assert notebook.metadata.kernelspec.name == "python3", "without a kernelspec Jupyter asks for a kernel"
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert [cell.source for cell in tagged] == ['profile = "quick"']
    assert f'Run("{path.stem}", profile' in path.read_text()  # and perhaps the device


def test_dvc_yaml_is_what_the_studies_say():
    assert (ROOT / "dvc.yaml").read_text(encoding="utf-8") == pipeline(ROOT), "run `make stages`"


def test_a_study_is_its_folder():
    folders = {path.parent.name for path in (ROOT / "src/companion/studies").glob("*/study.py")}
    assert folders >= {topic_of(name) for name in NOTEBOOKS} and len(folders) == len(all_studies())


def test_a_stage_depends_on_what_its_notebook_imports():
    assert {"src/companion/figures", "src/companion/paper"} <= set(shared_code(ROOT, NOTEBOOKS["13_paper_and_errata"]))
    assert "src/companion/training" in PIPELINE["05_cifar10"]["do"]["deps"]
    assert "src/companion/training" not in PIPELINE["03_lattices"]["do"]["deps"]


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_a_notebook_computes_with_its_own_study(path):
    studies = set(re.findall(r"from companion\.studies\.(\w+)", path.read_text()))
    assert studies <= {topic_of(path.stem)}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_lines_are_short(path):
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 120] == []


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
