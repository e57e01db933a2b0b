"""The README's tables of what goes beyond the paper: exactness, speed, decoders, the zoo."""

from __future__ import annotations

from pathlib import Path

from companion.markdown import machine, table, where
from companion.methods import METHODS
from companion.records import Record
from companion.results import read_results


def exactness(root: Path) -> str:
    """Notebook 02: the share of shifts that pick another grid, by method and dtype, over all images."""
    records = [record for record in read_results(root, "mass_layer") if "another_grid" in record]
    dtypes = list(dict.fromkeys(record["dtype"] for record in records))
    cells: dict[tuple[str, ...], dict[str, tuple[float, int]]] = {}
    for record in records:
        row = cells.setdefault((record["model"], record["method"], where(record, records)), {})
        share, n = row.get(record["dtype"], (0.0, 0))
        more = record["shifts"]
        row[record["dtype"]] = ((share * n + record["another_grid"] * more) / (n + more), n + more)
    rows = [
        [model, method, *(f"{row[d][0]:.1f} (n = {row[d][1]})" if d in row else "–" for d in dtypes), where]
        for (model, method, where), row in cells.items()
    ]
    # No interval: the shifts of one image are no independent draws.
    note = "Percent of n circular shifts, over all images of notebook 02."
    return table(["Network (random weights)", "Method", *dtypes, "Profile"], rows, records, note)


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
            *(_share(main.get("MASS", {}).get(f"{kind}memory_ratio")) for kind in ("", "training_")),
            ", ".join(others) or "–",
        ])  # fmt: skip
    note = (
        "Plain: median milliseconds; the others: times that, in brackets their quartiles; interleaved in one run. "
        "Memory: MASS's peak over the plain network's, in evaluation and in training."
    )
    columns = ["Network", "Pass", "Machine", "Batch", "Plain (ms)", *(f"{name} (×)" for name in methods)]
    columns += ["Memory (×)", "Memory, training (×)", "MASS at other batches (×)"]
    return table(columns, cells, records, note)


def training(root: Path) -> str:
    """Time of a training step beside the baseline's, as ratios of medians."""
    records = read_results(root, "training")
    baselines = {(r["net"], r["batch"], machine(r)): r for r in records if r["method"] == METHODS["baseline"].printed}
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
    columns = ["Network", "Method", "Batch", "Precision", "Pictures/s", "Step (×)", "Share of bf16 peak %", "Machine"]
    note = "Steps are times the baseline's, in brackets the quartiles; all methods take turns in one run."
    return table(columns, rows, records, note)


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


def decoders(root: Path) -> str:
    """Segmentation architectures: how many encoders convert, and which outputs move along to the bit."""
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
        "that moved along to the bit under every shift tried, in float32 / in bfloat16."
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


def zoo(root: Path) -> str:
    """The census: of networks in use, by library and kind, how many convert and are then exactly equivariant."""
    records = read_results(root, "zoo")
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["library"], record["kind"]), []).append(record)
    rows = []
    for (library, kind), group in sorted(groups.items()):
        differences = [r.get("max_relative_difference_float32", 1.0) for r in group]
        shares = [
            [r["converts"] for r in group],
            [0 <= d <= 1e-6 for d in differences],
            [r.get("identical_float32", False) for r in group],
            [r.get("identical_bfloat16", False) for r in group],
        ]
        wrong = sum(r["converts"] and not 0 <= d <= 1e-3 for r, d in zip(group, differences, strict=True))
        cells = [f"{100 * sum(s) / len(group):.0f} ({sum(s)})" for s in shares]
        rows.append([library, kind, str(len(group)), *cells, str(wrong)])
    unconverted = [f"{r['model']} ({r['reason'].rstrip('.')})" for r in records if not r["converts"]]
    note = "Percent of n networks (their number), random weights, 4 random circular shifts of a photograph. "
    note += f"Not converted: {'; '.join(unconverted) or 'none'}."
    columns = ["Library", "Kind", "n", "Converts %", "Equal to 1e-6 %", "Same bits, float32 %", "Same bits, bfloat16 %"]
    return table([*columns, "Grossly wrong"], rows, records, note)
