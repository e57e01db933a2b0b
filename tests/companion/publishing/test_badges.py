"""Badges lead somewhere or are not there; the notebook's source and its pair say the same."""

import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import jupytext
import nbformat
import pytest

from companion.core.errors import Refusal
from companion.publishing.badges import NOTEBOOK, badges, write

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for suffix in (".py", ".ipynb"):
        shutil.copy(ROOT / "notebooks" / f"{NOTEBOOK}{suffix}", tmp_path / "notebooks")
    return tmp_path


def with_address(tree, address):
    file = tree / "pyproject.toml"
    file.write_text(
        re.sub(r"\n\[project.urls\][^[]*", "\n", file.read_text()) + f'\n[project.urls]\nRepository = "{address}"\n'
    )


def first_cells(tree):
    source = jupytext.read(tree / "notebooks" / f"{NOTEBOOK}.py", fmt="py:percent").cells[0].source
    return source, nbformat.read(tree / "notebooks" / f"{NOTEBOOK}.ipynb", as_version=4).cells[0].source


def test_what_is_committed_is_what_would_be_written(tree):
    assert write(tree) == []


@pytest.mark.parametrize("ending", ["", "/", ".git"])
def test_badges_open_a_file_that_is_there(tree, ending):
    with_address(tree, f"https://github.com/some-one/mass{ending}")
    assert len(write(tree)) == 2 and write(tree) == []
    source, pair = first_cells(tree)
    assert source == pair
    colab, binder = re.findall(r"\]\((https://(?:colab|mybinder)[^)]*)\)\n", source)
    place = f"notebooks/{NOTEBOOK}.ipynb"
    assert urlparse(colab).path == f"/github/some-one/mass/blob/main/{place}" and (ROOT / place).exists()
    assert urlparse(binder).path == "/v2/gh/some-one/mass/main" and parse_qs(urlparse(binder).query)["labpath"] == [
        place
    ]
    assert "git clone --depth 1 https://github.com/some-one/mass &&" in source


def test_they_are_taken_back_with_the_address(tree):
    before = first_cells(tree)
    with_address(tree, "https://github.com/some-one/mass")
    write(tree)
    shutil.copy(ROOT / "pyproject.toml", tree)
    write(tree)
    if not badges(ROOT):
        assert first_cells(tree) == before


@pytest.mark.parametrize(
    "address", ["https://example.org/mass", "github.com/some-one/mass", "https://github.com/some-one"]
)
def test_other_addresses_are_refused(tree, address):
    with_address(tree, address)
    with pytest.raises(Refusal, match=r"need https://github.com/OWNER/REPOSITORY"):
        write(tree)


def test_binder_fetches_what_the_notebook_reads():
    assert (ROOT / "binder" / "requirements.txt").read_text().splitlines()[-1] == "-e .[paper]"
    assert "python -m companion.fetch" in (ROOT / "binder" / "postBuild").read_text()
