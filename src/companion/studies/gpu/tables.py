"""The README's tables of what is exact on a GPU, as it is and inside `mass.exact`."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import machine, table
from companion.core.published import read_results
from companion.core.records import Record
from companion.studies.gpu.exactness import CELLS


def exactness(root: Path) -> str:
    """Images x shifts whose logits keep all bits, by network, size, precision and layout; what breaks, what restores it."""
    records = [r for r in read_results(root, "speed") if r.get("stage") == "exactness"]
    timed = [r for r in read_results(root, "speed") if r.get("stage") == "exactness timed"]
    cells = sorted(CELLS)
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["net"], record["size"], machine(record)), []).append(record)
    rows = []
    for (net, size, where), group in sorted(groups.items()):
        found = {(r["dtype"], r["layer"], r["input"]): r for r in group}
        compiled = found.get(("bfloat16", "channels last", "compiled"))
        times = {(r["dtype"], r["layer"], r["input"]): r["milliseconds"] for r in timed if r["net"] == net}
        rows.append([
            net, size, where, *(_share(found.get((*cell, "eager"))) for cell in cells), _share(compiled),
            "; ".join(filter(None, (_broken(cell, found, times) for cell in cells))) or "–",
        ])  # fmt: skip
    columns = ["Network", "Size", "Machine", *(f"{dtype}, {layer}" for dtype, layer in cells)]
    note = "Images x random shifts whose logits keep all bits, of how many; eager, but for one column."
    return table(
        [*columns, "bfloat16, channels last, compiled", "What breaks, and what restores it"], rows, records, note
    )


def settings(root: Path) -> str:
    """The same as the machine is and inside `mass.exact`, of photographs and of images that are built to tie; what it costs."""
    records = [r for r in read_results(root, "speed") if r.get("stage") == "settings"]
    timed = [r for r in read_results(root, "speed") if r.get("stage") == "settings timed"]
    cells: dict[tuple[str, str, str, str], dict[tuple[str, str], Record]] = {}
    for record in records:
        cell = record["net"], machine(record), record["dtype"], record["layer"]
        cells.setdefault(cell, {})[record["input"], record["setting"]] = record
    asked = [(name, setting) for setting in ("as it is", "mass.exact") for name in ("photographs", "awkward images")]
    rows = []
    for (net, where, dtype, layer), found in sorted(cells.items()):
        within = (net, dtype, layer, "MASS, mass.exact")
        costs = [f"{r['ratio']:.2f}" for r in timed if (r["net"], r["dtype"], r["layer"], r["method"]) == within]
        rows.append([net, where, dtype, layer, *(_share(found.get(one)) for one in asked), *(costs or ["–"])])
    columns = [
        "Network",
        "Machine",
        "Precision",
        "Layout",
        *(f"{name}, {setting}" for name, setting in asked),
        "mass.exact (×)",
    ]
    note = (
        "Images x random shifts whose logits keep all bits, of how many: batches of 8 photographs and of 13 awkward images, eager; "
        "mass.exact (×): the median time of a pass of the photographs inside it beside one as the machine is."
    )
    return table(columns, rows, records, note)


def _share(record: Record | None) -> str:
    return "–" if record is None else f"{record['identical']} of {record['n']}"


def _broken(
    cell: tuple[str, str], found: dict[tuple[str, str, str], Record], times: dict[tuple[str, str, str], float]
) -> str:
    """Which convolution of a cell rounds by position, by which kernel; the settings tried, and what they cost."""
    eager = found.get((*cell, "eager"))
    if eager is None or eager["identical"] == eager["n"]:
        return ""
    tried = []
    for (*where, setting), record in found.items():
        if tuple(where) == cell and setting not in ("eager", "compiled"):
            restores = record["identical"] == record["n"]
            took = times.get((*cell, setting)), times.get((*cell, "eager"))
            cost = f", {took[0] / took[1]:.2f} x the time" if restores and took[0] and took[1] else ""
            tried.append(f"{setting}: {'restores it' if restores else 'does not'}{cost}")
    return f"{', '.join(cell)}: {eager.get('breaks', 'unknown')} ({'; '.join(sorted(tried))})"
