"""What notebook 03's drawing cells take from its measuring ones, read from published records."""

from __future__ import annotations

from collections.abc import Sequence

from companion.core.records import Record


def names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By the names that the notebook gives them; of several machines' runs the latest, which is the one that is shown."""
    compared = [r for r in records if "relative_error" in r]
    latest = max((r["started"] for r in compared), default="")
    rows = [
        {"network": r["model"], "method": r["method"], "worst": r["relative_error"]}
        for r in compared
        if r["started"] == latest
    ]
    return {"rows": rows}
