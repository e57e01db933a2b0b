"""A table of records in Markdown, with its note and the runs it comes from; percentages with their intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from companion.core.intervals import wilson
from companion.core.records import Record


def percent(share: float, n: int) -> str:
    """A percentage with its 95% Wilson interval: 75.5 (69.1 to 80.9)."""
    low, high = wilson(share, n)
    return f"{share:.1f} ({low:.1f} to {high:.1f})"


def difference(value: float, low: float, high: float, digits: int = 1) -> str:
    """A difference of percentages with the bounds of its interval: as far as a difference goes; none of pairs that all agree, nor where a bound is NaN.

    >>> difference(-2.38, -4.06, -0.7)
    '-2.4 (-4.1 to -0.7)'
    >>> difference(99.5, 98.5, 100.5), difference(0.0, 0.0, 0.0)
    ('+99.5 (+98.5 to +100.0)', '0 (no pair differs)')
    >>> difference(0.25, math.nan, math.nan, 2)
    '+0.25 (no interval)'
    """
    if math.isnan(low) or math.isnan(high):
        return f"{value:+.{digits}f} (no interval)"
    if value == low == high == 0:
        return "0 (no pair differs)"
    low, high = max(low, -100.0), min(high, 100.0)
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def p_value(p: float) -> str:
    """To four digits, or that it is below them; NaN, where nothing was tested, is a dash."""
    if math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def machine(record: Record) -> str:
    """The accelerator, or else the processor."""
    return record["cpu"] if record["device"] == "cpu" else record["device"]


def where(record: Record, records: list[Record]) -> str:
    """The profile, and the machine where there are several."""
    several = len({machine(other) for other in records}) > 1
    return f"{record['profile']}, {machine(record)}" if several else record["profile"]


def table(columns: list[str], rows: Iterable[list[str]], records: list[Record], note: str) -> str:
    """In Markdown; below it what its numbers are, and which runs they come from."""
    if not records:
        return "Nothing is published yet: `make repro`, then `make publish`."
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]
    runs: dict[str, list[Record]] = {}  # told alike, but for their memory and their commits
    for record in records:
        told = f"{record['profile']}, {record['started'][:10]}, {machine(record)}, torch {record['torch']}, {record['seconds']:,.0f} s"
        runs.setdefault(told, []).append(record)
    return "\n".join(
        [*lines, "", f"{note} Runs: {'; '.join(f'{told}, {_memory_and_commits(runs[told])}' for told in runs)}."]
    )


def _memory_and_commits(alike: list[Record]) -> str:
    memory = [record["peak_memory_mb"] for record in alike]
    range_mb = " to ".join(f"{mb:,}" for mb in dict.fromkeys((min(memory), max(memory))))
    commits = dict.fromkeys(map(_code, alike))
    return f"{range_mb} MB, commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}"


def _code(record: Record) -> str:
    """The commit that measured, the one that trained where it was another, and whether either was changed."""
    said, trained = [], record.get("trained_commit")
    if trained not in (None, record["commit"]):
        said.append("trained by " + re.sub(r"\b([0-9a-f]{7})[0-9a-f]+\b", r"\1", trained))
    if record["modified"] is not False:
        said.append("with changes" if record["modified"] else "changes unknown")
    return (record["commit"] or "unknown")[:7] + (f" ({', '.join(said)})" if said else "")
