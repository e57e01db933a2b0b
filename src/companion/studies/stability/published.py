"""What notebook 15's other cells take from its measuring ones: nothing, for they show published tables and records."""

from __future__ import annotations

from collections.abc import Sequence

from companion.core.records import Record


def names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By the names that the notebook gives them."""
    return {}
