"""What notebook 05's drawing cells take from its measuring ones, read from published records."""

from __future__ import annotations

from collections.abc import Sequence

from companion.core.records import Record, is_study


def names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By the names that the notebook gives them."""
    inputs = [r for r in records if "input" in r]
    prefix = "corrupted: "
    stages = [r for r in records if "stage" in r]
    return {
        "records": [r for r in records if not is_study(r)],
        "corrupted": [
            r | {"corruption": r["input"].removeprefix(prefix)} for r in inputs if r["input"].startswith(prefix)
        ],
        "rules": [r for r in records if "rule" in r],
        "noisy": [r for r in inputs if r["input"].startswith("noise ")],
        "transfer": [
            r | {"training": f"{r['epochs']} epochs" if r["stage"] == "fine-tuned" else "none"} for r in stages
        ],
    }
