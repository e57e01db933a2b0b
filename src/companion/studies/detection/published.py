"""What notebook 14's drawing cells take from its measuring ones, read from published records."""

from __future__ import annotations

from collections.abc import Sequence

from companion.core.records import Record


def names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By the names that the notebook gives them."""
    stages = {"whole": "tested", "measured": "precision", "masked": "masks", "fates": "photographs"}
    own = [r for r in records if r.get("dataset") != "imagenet-val-1300"]  # which no cell of the notebook measures
    return {name: [r for r in own if r.get("stage") == stage] for name, stage in stages.items()}
