"""The README's generated tables, from results/ only.

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


def refresh(text: str, root: Path) -> str:
    """The README with every marked table written anew."""

    def written(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise Refusal(f"README.md marks a table {match[2]!r} that nobody makes; known: {', '.join(TABLES)}.")
        return match[1] + TABLES[match[2]](root) + "\n" + match[3]

    marks = re.findall(r"<!-- /?results:\w+ -->", text)
    made, count = _BLOCK.subn(written, text)
    if 2 * count != len(marks):
        raise Refusal("README.md opens and closes its generated tables unevenly: each needs both of its markers.")
    return made
