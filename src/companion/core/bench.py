"""Benchmarks of many members, one record each: what is there already is not measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import Record, make_record, read_records, record_name

Member = tuple[dict[str, Any], Callable[[], Record]]  # what names its record, `model` among it; and what measures it


class Absent(Exception):
    """What a member needs is not here."""


def run_bench(topic: str, members: Iterable[Member], told: Callable[[Record], str]) -> None:
    """Measure members into runs/bench/<topic>, for `make publish PROFILE=bench`, and print a line for each.

    Args:
        members: a measured row names how many seconds it `took`; one that raises `Absent` is left out.
        told: what is printed of a row.
    """
    root = find_root()
    folder: Path = root / "runs" / "bench" / topic
    (folder / "records").mkdir(parents=True, exist_ok=True)
    facts = {"notebook": topic, "profile": "bench", "seed": 0} | provenance(root)
    names = set[str]()
    for key, measure in members:
        name = record_name(key)
        if name in names:
            raise Refusal(f"Two members of {topic} would be recorded as {name}: tell them apart by a field.")
        names.add(name)
        path = folder / "records" / f"{name}.json"
        if path.exists():
            continue
        try:
            row = make_record(measure())
        except Absent as absent:
            print(f"{key['model']:34} absent: {absent}", flush=True)
            continue
        write_json(path, facts | row)
        print(f"{key['model']:34} {told(row)}  ({row['took']} s)", flush=True)
    records = read_records(folder / "records")
    sums = {"seconds": round(sum(r["took"] for r in records), 1), "peak_memory_mb": peak_memory_mb()}
    write_json(folder / "provenance.json", facts | sums)
