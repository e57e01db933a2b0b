"""What the site needs beside Sphinx's own extensions (docs/conf.py, `make docs`): formulas, docstrings, the zoo's table.

- Formulas become MathML while the site is built, so that a page needs no script and nothing from the network.
- `Shape:` in a docstring becomes a field, as `Args:` and `Raises:` do.
- `<!-- zoo -->` on a page becomes the sortable table of the census, from results/zoo.json.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

from companion.studies.zoo.page import zoo_table

_LOG = logging.getLogger(__name__)

# What docutils calls by other names.
_COMMANDS = {r"\operatorname*": r"\operatorname", "…": r"\ldots ", "·": r"\cdot "}
_DOTS = re.compile(r"\\dots(?![A-Za-z])")

_FIELD = re.compile(
    r"^(?P<name>Shape(?= *:)|(?:Shape and errors|Args, raises|Args|Raises|Returns)(?=: \S)): *(?P<text>.*)$"
)
_STARRED = re.compile(r"(?<=, )\*(?=\w+\))")  # of a shape: (R, C, *output_size)


def mathml(tex: str, *, block: bool) -> str:
    """A formula as MathML.

    Raises:
        docutils.utils.math.MathError: for TeX that docutils does not know.

    >>> mathml("x_1", block=False).split()
    ['<math', 'xmlns="http://www.w3.org/1998/Math/MathML">', '<msub>', '<mi>x</mi>', '<mn>1</mn>', '</msub>', '</math>']
    """
    for theirs, ours in _COMMANDS.items():
        tex = tex.replace(theirs, ours)
    return str(tex2mathml(_DOTS.sub(r"\\ldots", tex), as_block=block))


def fields(lines: list[str]) -> list[str]:
    """A docstring whose `Shape:`, and whose sections that begin on the line of their name, are fields of reStructuredText.

    >>> fields(["Shape: x (B, *size)", "-> (B,).", "", "Args: none."])
    [':Shape:', '    x (B, \\\\*size)', '    -> (B,).', '', ':Args:', '    none.']
    >>> fields(["Shape:", "    x (B,)"])
    [':Shape:', '    x (B,)']
    """
    made: list[str] = []
    section, paragraph = "", False  # the field that a line is in, and whether it began on the line of its name
    for line in lines:
        if match := _FIELD.match(line):
            section, paragraph = match["name"], bool(match["text"])
            made.append(f":{section}:")
            line = match["text"]
        elif not line.strip() or not (paragraph or line.startswith(" ")):
            section, paragraph = "", False
        if section and line:
            text = "    " + line.strip() if paragraph else line
            made.append(_plain(text) if section.startswith("Shape") else text)
        elif not section:
            made.append(line if line.lstrip().startswith((">>>", "...")) else _STARRED.sub(r"\*", line))
    return made


def _plain(text: str) -> str:
    """Asterisks and bars as what they are, outside of backticks."""
    parts = text.split("`")
    return "`".join(part if k % 2 else re.sub(r"([*|])", r"\\\1", part) for k, part in enumerate(parts))


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(_rendered(node, block=False))
    raise nodes.SkipNode


def _displayed(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{_rendered(node, block=True)}</div>')
    raise nodes.SkipNode


def _rendered(node: nodes.Element, *, block: bool) -> str:
    tex = node.astext()
    try:
        return mathml(tex, block=block)
    except MathError as error:
        _LOG.warning("no MathML for the formula %r: %s", tex, error, location=node)
        return f"<code>{escape(tex)}</code>"


def _process_docstring(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = fields(lines)


def _read_source(app: Sphinx, _page: str, source: list[str]) -> None:
    if "<!-- zoo -->" in source[0]:
        table = zoo_table(Path(app.srcdir))
        source[0] = source[0].replace("<!-- zoo -->", f"```{{raw}} html\n{table}\n```" if table else "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_displayed, None))
    app.connect("autodoc-process-docstring", _process_docstring, priority=400)  # ahead of napoleon
    app.connect("source-read", _read_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
