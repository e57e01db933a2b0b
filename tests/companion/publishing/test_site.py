"""The site: it builds without a warning, has every page in a table of contents, and needs nothing from the network."""

import pkgutil
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from docutils.utils.math import MathError

import mass
from companion.publishing.site import fields, mathml

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$`])\$([^$\s](?:[^$\n]*[^$\s])?)\$(?![\d$`])", re.DOTALL)


def entries() -> list[str]:
    """What the tables of contents name, from the project's root; a page beside the first one without its folder."""
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL) for line in block.splitlines()]
    named = [re.sub(r".*<(.*)>", r"\1", line) for line in lines if line and not line.startswith(":")]
    return [name.removeprefix("/") if name.startswith("/") else f"docs/{name}" for name in named]


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.stem)
def test_every_page_is_in_a_table_of_contents(page):
    place = page.relative_to(ROOT).with_suffix("").as_posix()
    assert place == "docs/index" or any(fnmatchcase(place, name) for name in entries())


def test_the_tables_of_contents_name_what_is_there():
    assert [name for name in entries() if not list(ROOT.glob(f"{name}.*"))] == []


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert [name for name in mass.__all__ if not re.search(rf"(^   |`mass\.){name}\b", text, re.MULTILINE)] == []


def listed():
    """What the reference lists, by the module that it lies in."""
    module = ""
    for line in (ROOT / "docs/reference.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.removeprefix(".. currentmodule:: ")
        elif re.fullmatch(r"   [\w.]+", line):
            yield module, line.strip()


@pytest.mark.parametrize(("module", "name"), list(listed()))
def test_what_the_reference_lists_is_there(module, name):
    pkgutil.resolve_name(f"{module}.{name}")


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_formulas_of_notebooks_are_known(path):
    text = "\n".join(line[2:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    for displayed, inline in FORMULA.findall(text):
        assert mathml(displayed or inline, block=bool(displayed)).startswith("<math")


def test_a_formula_that_is_unknown_is_an_error():
    with pytest.raises(MathError):
        mathml(r"\nosuchcommand{x}", block=False)


@pytest.mark.parametrize(
    ("docstring", "made"),
    [
        (["Shape: x (B, C)", "-> (B,).", "", "Text."], [":Shape:", "    x (B, C)", "    -> (B,).", "", "Text."]),
        (["Shape:", "    x (B, C)", "    -> (B,).", ""], [":Shape:", "    x (B, C)", "    -> (B,).", ""]),
        (["Shape and errors: as `shift`."], [":Shape and errors:", "    as `shift`."]),
        (
            ["Args:", "    x: a map.", "Raises:", "    ValueError: if."],
            ["Args:", "    x: a map.", "Raises:", "    ValueError: if."],
        ),
        (["A shape: not a section."], ["A shape: not a section."]),
        (["(B, *size)", ">>> f(x, *size)"], [r"(B, \*size)", ">>> f(x, *size)"]),
    ],
)
def test_sections_of_docstrings(docstring, made):
    assert fields(docstring) == made


@pytest.mark.slow
def test_it_builds_without_a_warning_and_loads_nothing(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", "docs"]
    command += ["-d", str(tmp_path / "doctrees"), ".", str(site)]
    built = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""<(script|link|img)\b[^>]*\b(src|href)=["']?(https?:)?//""", text), page
    first = (site / "docs/index.html").read_text(encoding="utf-8")
    assert "00_probability_over_shifts.png" in first and "mass" in first
    assert "Shape" in (site / "docs/reference/mass.select_origin.html").read_text(encoding="utf-8")
    assert (site / "searchindex.js").exists() and (site / "index.html").exists()
