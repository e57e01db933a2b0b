"""The README's generated tables, from results/ only.

A table stands between `<!-- results:NAME -->` and `<!-- /results:NAME -->`; `make publish` writes what is between, and
a test holds it against results/.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from companion import bench_tables, paper_tables
from companion.errors import Refusal
from companion.gpu import tables as gpu_tables

_BLOCK = re.compile(r"(<!-- results:(\w+) -->\n).*?(<!-- /results:\2 -->)", re.DOTALL)

TABLES: dict[str, Callable[[Path], str]] = {
    "cifar10": paper_tables.cifar10,
    "transfer": paper_tables.transfer,
    "weight_transfer": paper_tables.weight_transfer,
    "segmentation": paper_tables.segmentation,
    "exactness": bench_tables.exactness,
    "decoders": bench_tables.decoders,
    "zoo": bench_tables.zoo,
    "speed": bench_tables.speed,
    "training": bench_tables.training,
    "gpu": gpu_tables.exactness,
}


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
