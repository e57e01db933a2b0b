"""What notebook 10's drawing cells take from its measuring ones, read from published records."""

from __future__ import annotations

from collections.abc import Sequence

from companion.core.records import Record, is_study


def names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By the names that the notebook gives them."""
    of_stage = {
        name: [r for r in records if r.get("stage") == stage]
        for name, stage in (
            ("constructed", "untrained"),
            ("times", "speed"),
            ("certified", "certificate"),
            ("tracked", "tracking"),
        )
    }
    return of_stage | {"records": [r for r in records if not is_study(r)]}
