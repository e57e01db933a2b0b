"""One word a thing (docs/glossary.md): what is written for readers avoids synonyms, and phrases that read as riddles."""

import ast
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "RELEASING.md", "article/article.typ")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
EXECUTED = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted((ROOT / "src").rglob("*.py"))

# What is not written, and what is written instead.
BANNED = {
    r"to the bit|same bits|bit for bit|identical bits": "bit-identical",
    r"(?<!bit-)(?<!not_)\bidentical(?!ly)\b(?!:)": "bit-identical (or 'the same', of what is no result)",
    r"\bpictures?\b": "image (what a network is shown), figure (what is drawn)",
    r"\bphotos?\b": "photograph",
    r"\bframe's\b|\bthe frame\b(?! (averaging|of data))|\b(its|their|own|one|whose|that) frames?\b": "fixed grid, image, canonical position; "
    "a frame is one image of a video",
    r"\bsettl(e|es|ed|ing)\b(?!\()": "ties are broken by image content",
    r"\b(an)?other grids?\b": "a different sampling phase",
    r"\bpick(s|ed|ing)?\b": "select",
    r"commutes? with no (other )?shift": "operations without a smaller equivariant shift",
    r"answers? that stays?": "shift-invariant, shift-equivariant",
    r"what goes up": "upsampled maps are shifted back",
    r"[Ww]hich, is inferred|node by node and proved": "the sharing is inferred, and checked at every node",
    r"loads nothing|to be sorted": "a sortable, self-contained page",
    r"(?<!not )\bproved\b|\bproof that\b": "verified, certified: a claim is as strong as its check",
}


def prose(markdown: str) -> str:
    """Without code, and without the asterisks that print a word in italics."""
    return re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->", " ", markdown, flags=re.DOTALL).replace("*", "")


def glossary(text: str) -> str:
    """Without its right column, which lists the words that are not used."""
    return re.sub(r"(?m)^(\|[^|]*\|[^|]*\|).*$", r"\1", text)


def docstrings(source: str) -> str:
    """All docstrings, without examples."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    text = "\n".join(filter(None, map(ast.get_docstring, nodes)))
    return prose(re.sub(r"(?m)^ *(>>>|\.\.\.|\S+: bool \(B).*$", "", text))


def offences(text: str) -> list[str]:
    return [
        f"{match[0]!r} in '…{text[max(0, match.start() - 30) : match.end() + 30]}…': {instead}".replace("\n", " ")
        for pattern, instead in BANNED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages(page):
    text = page.read_text(encoding="utf-8")
    assert offences(prose(glossary(text) if page.stem == "glossary" else text)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks(path):
    cells = jupytext.read(path, fmt="py:percent").cells
    assert offences("\n".join(prose(cell.source) for cell in cells if cell.cell_type == "markdown")) == []


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_published_notebooks(path):
    cells = nbformat.read(path, as_version=4).cells
    assert offences("\n".join(prose(cell.source) for cell in cells if cell.cell_type == "markdown")) == []


@pytest.mark.parametrize("package", ["mass", "companion"])
def test_docstrings(package):
    found = {
        path.relative_to(ROOT): offences(docstrings(path.read_text(encoding="utf-8")))
        for path in MODULES
        if package in path.parts
    }
    assert {path: said for path, said in found.items() if said} == {}


def test_what_is_banned_is_found():
    assert len(offences("The same bits, in a picture that was taken in the frame.")) == 3
    assert offences("Bit-identical images, sampled on a fixed grid.") == []
