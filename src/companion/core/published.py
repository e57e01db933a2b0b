"""Published records: results/<topic>.json, the only thing that the README's tables read.

A record there is flat: what was measured, and where from (its run's provenance). It stands on a line of its own, so
that a change of one number is a change of one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import read_json, write_atomic
from companion.core.records import KEY, Record, read_records

# Facts that every published record carries: without them nobody can say where a number comes from.
PROVENANCE = (
    "notebook",
    "profile",
    "seed",
    "started",
    "commit",
    "modified",
    "python",
    "torch",
    "torchvision",
    "numpy",
    "device",
    "platform",
    "cpu",
    "threads",
    "seconds",
    "peak_memory_mb",
)
# A record replaces the one that measured the same on such a machine; all others stay. Runs of one profile may also differ in
# how long, at which rate, in which precision and from which weights they trained.
_IDENTITY = ("notebook", "profile", "platform", "cpu", *KEY, "epochs", "lr", "precision", "start")
PROFILES = ("paper", "reduced", "quick")  # the largest first


def topic_of(notebook: str) -> str:
    """A notebook's name without its number: 06_weight_transfer -> weight_transfer."""
    return re.sub(r"^\d+_", "", notebook)


def results_file(root: Path, topic: str) -> Path:
    """Where a topic's published records lie."""
    return root / "results" / f"{topic}.json"


def read_results(root: Path, topic: str) -> list[Record]:
    """The published records of a topic; none when nothing was published yet."""
    path = results_file(root, topic)
    records = read_json(path) if path.exists() else []
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise Refusal(f"{path} is broken (no list of records): take it from git.")
    return records


def records_of(run: Path) -> list[Record]:
    """A run's records, each with its run's provenance; what a record says itself comes first."""
    facts = read_json(run / "provenance.json")
    records = [facts | record for record in read_records(run / "records")]
    for record in records:
        if missing := [name for name in PROVENANCE if name not in record]:
            raise Refusal(f"The run {run.name} has no {', '.join(missing)} in its provenance: run it again to its end.")
    return records


def merge(published: Iterable[Record], new: Iterable[Record]) -> list[Record]:
    """Both, the new ones in place of those that measured the same; in an order that does not depend on when."""
    merged = {_identity(record): record for record in (*published, *new)}
    return sorted(merged.values(), key=_place)


def write_results(root: Path, topic: str, records: Iterable[Record]) -> None:
    """Write a topic's file, a line a record."""
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records]
    write_atomic(results_file(root, topic), "[\n" + ",\n".join(lines) + "\n]\n")


def _identity(record: Record) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in _IDENTITY)


def _place(record: Record) -> tuple[Any, ...]:
    profile = record["profile"]
    rank = PROFILES.index(profile) if profile in PROFILES else len(PROFILES)
    machine = (record["device"], record["platform"], record["cpu"])
    return rank, profile, *machine, record["seed"], record.get("row", 0), repr(_identity(record))
