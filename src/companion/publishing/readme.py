"""The generated tables of README.md and docs/*.md, from results/ only.

A table stands between `<!-- results:NAME -->` and `<!-- /results:NAME -->`; `make publish` writes what is between, and
a test holds it against results/.
"""

from __future__ import annotations

import re
from pathlib import Path

from companion.core.errors import Refusal
from companion.studies import all_studies

_BLOCK = re.compile(r"(<!-- results:(\w+) -->\n).*?(<!-- /results:\2 -->)", re.DOTALL)

TABLES = {name: table for study in all_studies() for name, table in study.tables.items()}


def pages(root: Path) -> list[Path]:
    """The pages that show tables."""
    written = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return [page for page in written if page.exists() and "<!-- results:" in page.read_text(encoding="utf-8")]


def refresh(page: Path, root: Path) -> str:
    """A page with every marked table written anew."""
    text, name = page.read_text(encoding="utf-8"), page.relative_to(root).as_posix()

    def written(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise Refusal(f"{name} marks a table {match[2]!r} that nobody makes; known: {', '.join(TABLES)}.")
        return match[1] + TABLES[match[2]](root) + "\n" + match[3]

    marks = re.findall(r"<!-- /?results:\w+ -->", text)
    made, count = _BLOCK.subn(written, text)
    if 2 * count != len(marks):
        raise Refusal(f"{name} opens and closes its generated tables unevenly: each needs both of its markers.")
    return made
