"""What notebook 06's drawing cells take from its measuring ones, read from published records."""

from __future__ import annotations

from collections.abc import Sequence

from companion.core.records import Record, is_study
from companion.measures.moves import MOVES

_MEASURED = ("method", "n", "top1", "shifted_top1", "consistency")
_MOVED = ("method", "input", "n", "agreement", "cosine")


def names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By the names that the notebook gives them, of the latest run, where several machines have published one."""
    last = max((r["started"] for r in records), default="")
    records = [r for r in records if r["started"] == last]
    return {
        "rows": [{name: r[name] for name in _MEASURED} for r in records if not is_study(r)],
        "moves": [{name: r[name] for name in _MOVED} for r in records if r.get("input") in MOVES and "agreement" in r],
    }
