"""The README's tables of speed, in forward passes and in training."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import machine, table
from companion.core.published import read_results
from companion.core.records import Record
from companion.paper.printed import BASELINE


def speed(root: Path) -> str:
    """Forward time and peak memory beside the plain network's, as ratios; of times those of medians."""
    rows: dict[tuple[str, ...], dict[int, dict[str, Record]]] = {}
    records = [r for r in read_results(root, "speed") if r.get("stage", "forward") in ("forward", "training")]
    for record in records:
        way = f"{record['input']}, " if "input" in record else ""  # compiled or eager, on a GPU
        what = f"{record.get('stage', 'forward')}, {way}{record['dtype']}, {record['size']} px"
        batches = rows.setdefault((record["net"], what, machine(record)), {})
        batches.setdefault(record["batch"], {})[record["method"]] = record
    # What it is measured against first, then the peers.
    order = ["circular padding", "MASS", "plain, channels last", "MASS, channels last"]
    methods = sorted({r["method"] for r in records} - {"plain"}, key=lambda m: (([*order, m]).index(m), m))
    cells = []
    for place, found in rows.items():
        batches = {batch: row for batch, row in sorted(found.items()) if "plain" in row}
        if not batches:
            continue
        most = max(batches, key=lambda batch: len(batches[batch]))
        main = batches.pop(most)
        others = [f"{batch}: {_ratio(row['MASS'], row['plain'])}" for batch, row in batches.items() if "MASS" in row]
        cells.append([
            *place, str(most), _milliseconds(main["plain"]), *(_ratio(main.get(m), main["plain"]) for m in methods),
            _like_with_like(main), *(_share(main.get("MASS", {}).get(f"{kind}memory_ratio")) for kind in ("", "training_")),
            ", ".join(others) or "–",
        ])  # fmt: skip
    note = (
        "Plain: median milliseconds; the others: times that, in brackets their quartiles; interleaved in one run. "
        "ConvNeXt's ratios below 1 are another convolution kernel's and not "
        "the method's: circular padding alone has them. Channels last are images and weights. Memory: MASS's peak over the plain network's, in evaluation and in training."
    )
    columns = ["Network", "Pass", "Machine", "Batch", "Plain (ms)", *(f"{name} (×)" for name in methods)]
    columns += [
        "MASS beside plain, both channels last (×)",
        "Memory (×)",
        "Memory, training (×)",
        "MASS at other batches (×)",
    ]
    return table(columns, cells, records, note)


def training(root: Path) -> str:
    """Time of a training step beside the baseline's, as ratios of medians."""
    records = read_results(root, "training")
    baselines = {(r["net"], r["batch"], machine(r)): r for r in records if r["method"] == BASELINE}
    rows = [
        [
            *(record["net"], record["method"], str(record["batch"]), record["dtype"]),
            f"{record['images_per_s']:,.0f}",
            _ratio(record, baselines[record["net"], record["batch"], machine(record)]),
            "–" if record.get("peak_share") is None else f"{record['peak_share']:.1f}",
            f"{machine(record)}, {record['threads']} threads" if record["device"] == "cpu" else machine(record),
        ]
        for record in records
    ]
    columns = ["Network", "Method", "Batch", "Precision", "Images/s", "Step (×)", "Share of bf16 peak %", "Machine"]
    note = "Steps are times the baseline's, in brackets the quartiles; all methods take turns in one run."
    return table(columns, rows, records, note)


def _like_with_like(row: dict[str, Record]) -> str:
    """In channels last beside channels last, of medians."""
    ours, plain = (row.get(f"{method}, channels last") for method in ("MASS", "plain"))
    return f"{ours['milliseconds'] / plain['milliseconds']:.2f}" if ours and plain else "–"


def _milliseconds(record: Record) -> str:
    digits = 0 if record["milliseconds"] >= 20 else 2
    return f"{record['milliseconds']:,.{digits}f} (n = {record['rounds']})"


def _share(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _ratio(record: Record | None, plain: Record) -> str:
    if record is None:
        return "–"
    low, high = (record[f"quartile_{end}"] / plain["milliseconds"] for end in ("low", "high"))
    return f"{record['ratio']:.2f} ({low:.2f} to {high:.2f})"
