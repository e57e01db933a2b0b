"""The README's table of decoders."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import table
from companion.core.published import read_results
from companion.core.records import Record


def decoders(root: Path) -> str:
    """Segmentation architectures: how many encoders convert, and which outputs move along bit-identically."""
    records = read_results(root, "decoders")
    few = min((r["tried"] for r in records if r["converts"]), default=0)  # random shifts, where not all residues
    rows = []
    for model in dict.fromkeys(record["model"] for record in records):
        offered = [r for r in records if r["model"] == model and not r["reason"].startswith("not offered")]
        converted = [r for r in offered if r["converts"]]
        parts = {
            "small": [r for r in converted if r["tried"] == few and not _is_square(r)],
            "swept": [r for r in converted if r["tried"] > few],
            "large": [r for r in converted if r["tried"] == few and _is_square(r)],
        }
        rows.append([model, f"{len(converted)} of {len(offered)}", *map(_moved_along, parts.values())])
    columns = ["Architecture", "Converts", "Small images, each encoder", "All residues", "Large squares"]
    note = (
        "A row of the measurement is an architecture with an encoder at an output stride and an image size; exact are those "
        "that moved along bit-identically under every shift tried, in float32 / in bfloat16."
    )
    return table(columns, rows, records, note)


def _is_square(record: Record) -> bool:
    height, _, width = record["size"].partition("x")
    return height == width


def _moved_along(records: list[Record]) -> str:
    """How many of these are exact in each precision, over how many shifts, at which sizes."""
    if not records:
        return "–"
    exact = [sum(record[f"identical_{dtype}"] for record in records) for dtype in ("float32", "bfloat16")]
    shifts, sizes = sum(record["tried"] for record in records), dict.fromkeys(record["size"] for record in records)
    return f"{exact[0]} / {exact[1]} of {len(records)} ({shifts:,} shifts, {', '.join(sizes)})"
