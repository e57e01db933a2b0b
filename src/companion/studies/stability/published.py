"""What notebook 15's drawing cells take from its measuring ones, read from published records."""

from __future__ import annotations

from collections.abc import Sequence

from companion.core.records import Record


def names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By the names that the notebook gives them."""
    return {
        name: [r for r in records if r.get("stage") == stage]
        for name, stage in {"changed": "changes", "table": "ways"}.items()
    }
