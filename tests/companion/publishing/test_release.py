"""What a reader cites, unpacks and reads: the descriptions agree, and the archive runs without git."""

import hashlib
import json
import sys
import tarfile
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from companion.core.errors import Refusal
from companion.publishing.release import release

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = YAML(typ="safe", pure=True).load(ROOT / "CITATION.cff")
ZENODO = json.loads((ROOT / ".zenodo.json").read_text())
CODEMETA = json.loads((ROOT / "codemeta.json").read_text())
ARTICLE = YAML(typ="safe", pure=True).load(ROOT / "article" / "metadata.yaml")


def test_the_descriptions_agree():
    assert CITATION["version"] == ZENODO["version"] == CODEMETA["version"] == PROJECT["version"]
    assert CITATION["license"] == ZENODO["license"] == PROJECT["license"] == "MIT"
    assert CODEMETA["license"] == f"https://spdx.org/licenses/{PROJECT['license']}"
    assert CITATION["authors"] == ZENODO["creators"] == PROJECT["authors"]
    assert (
        [a["name"] for a in CODEMETA["author"]]
        == [a["name"] for a in ARTICLE["authors"]]
        == [PROJECT["authors"][0]["name"]]
    )
    assert CITATION["keywords"] == ZENODO["keywords"] == CODEMETA["keywords"] == PROJECT["keywords"]
    assert CITATION["title"] == ZENODO["title"] == CODEMETA["name"]
    assert ZENODO["description"] == CODEMETA["description"]
    assert CODEMETA["runtimePlatform"][1:] == PROJECT["dependencies"]
    assert PROJECT["authors"][0]["name"] in (ROOT / "LICENSE").read_text()
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_descriptions_are_what_their_formats_ask_for():
    """Fields and values of the Citation File Format 1.2.0, Zenodo's deposits, CodeMeta 3.0 and ReScience C."""
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    assert {"message", "title", "authors"} <= set(CITATION)
    assert {"type", "title", "authors"} <= set(CITATION["preferred-citation"])
    assert set(ZENODO) <= {"title", "description", "upload_type", "version", "license", "access_right", "creators", "keywords",
                           "notes", "related_identifiers", "language"}  # fmt: skip
    assert ZENODO["upload_type"] == "software" and ZENODO["access_right"] == "open"
    assert CODEMETA["@context"] == "https://w3id.org/codemeta/3.0" and CODEMETA["@type"] == "SoftwareSourceCode"
    assert all(
        urlsplit(link).scheme == "https" for link in CODEMETA["softwareRequirements"]
    )  # links, to CodeMeta's context
    assert all(author["@type"] in ("Organization", "Person") for author in CODEMETA["author"])
    assert ARTICLE["title"].startswith("[Re] ") and ARTICLE["type"] == "Replication"
    asked = {
        "authors",
        "abstract",
        "keywords",
        "code",
        "data",
        "replication",
        "review",
        "article",
        "journal",
        "domain",
        "language",
    }
    assert asked <= set(ARTICLE)


def test_nobody_is_invented():
    paper = CITATION["preferred-citation"]
    assert paper["authors"] == [{"name": "Anonymous"}] and paper["type"] == "unpublished" and "9459" in paper["notes"]
    assert "doi" not in json.dumps([CITATION, ZENODO, CODEMETA]).lower()


def test_a_release_is_made_from_a_clean_clone(tmp_path):
    with pytest.raises(Refusal, match="this tree is an archive already"):
        release(tmp_path)


@pytest.mark.slow
def test_the_archive_runs_without_git(project, tmp_path):
    project.say("make", "repro")
    project.say("git", "add", ".")
    assert "files differ: commit them" in project.say("make", "release", fails=True).stderr
    project.say("git", "commit", "-qm", "results")
    project.say("make", "release")
    sums = (project.folder / "dist/SHA256SUMS").read_text().split()
    archive = project.folder / "dist" / sums[1]
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == sums[0]
    first = archive.read_bytes()
    project.say("make", "release")
    assert archive.read_bytes() == first

    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")
    (folder,) = (tmp_path / "elsewhere").iterdir()
    unpacked = project.at(folder)
    assert "make repro" in unpacked.say("make", "help").stdout
    assert "02_mass_layer" in unpacked.say(sys.executable, "-m", "dvc", "status").stdout  # its outs are not in git
    assert "Ran 1 of 1 notebooks" in unpacked.say("make", "repro").stdout
    name = "runs/quick/02_mass_layer/metrics.json"
    assert (folder / name).read_bytes() == (project.folder / name).read_bytes()
    assert "Nothing to do" in unpacked.say("make", "repro").stdout
