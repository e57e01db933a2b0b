"""Records: what was measured, one flat JSON file each.

A record's key says what was measured on, its other fields what came out. Records of one run never share a key, so
that the key names the file and, later, the row in a table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import read_json

Record = dict[str, Any]

# Fields that identify; all others measure.
KEY = (
    "model",
    "net",
    "method",
    "against",  # of a comparison: the method that `method` is compared with
    "rule",
    "protocol",
    "dataset",
    "image",
    "input",
    "layer",
    "stage",
    "size",
    "batch",
    "period",
    "dtype",
    "device",
    "seed",
)


def make_record(fields: dict[str, Any]) -> Record:
    """`fields` as plain JSON values; tensors and numpy scalars of one element become numbers."""
    record = {name: value.item() if hasattr(value, "item") else value for name, value in fields.items()}
    for name, value in record.items():
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise Refusal(f"A record is flat: {name!r} must be a number or a text, not {type(value).__name__}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise Refusal(f"A record holds finite numbers: {name!r} is {value}.")
    return record


def record_name(record: Record) -> str:
    """The file name that the key gives, without extension."""
    parts = [re.sub(r"[^A-Za-z0-9_.]+", "-", str(record[name])).strip("-") for name in KEY if name in record]
    return "_".join(parts) or "record"


def is_study(record: Record) -> bool:
    """Whether a record studies a trained network (under noise, by another rule, fine-tuned) and is no run of Table 2."""
    return bool({"input", "rule", "stage"} & set(record))


def mean_std(values: Sequence[float], digits: int = 2) -> str:
    """The mean, and the standard deviation where there are several; what is nearly 100 needs `digits` not to pass for it."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def read_records(folder: Path) -> list[Record]:
    """All records of a run, in the order in which they were made."""
    records = [read_json(path) for path in sorted(folder.glob("*.json"))]
    return sorted(records, key=lambda record: record.get("row", 0))


def nest(records: Iterable[Record]) -> dict[str, Any]:
    """Numbers by what distinguishes the records, nested, as `dvc metrics show` likes it."""
    records = list(records)
    varying = [name for name in KEY if len({record.get(name) for record in records}) > 1]
    tree: dict[str, Any] = {}
    for record in records:
        branch = tree
        for name in varying:
            branch = branch.setdefault(str(record.get(name, "-")), {})
        numbers = {
            name: value
            for name, value in record.items()
            if name not in (*KEY, "row") and isinstance(value, (int, float))
        }
        branch.update(numbers)
    return tree
