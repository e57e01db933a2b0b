"""The README's tables of the zoo."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import table
from companion.core.published import read_results
from companion.core.records import Record
from companion.studies.zoo.libraries import members


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
        if left_out := sum("not_run_bfloat16" in r for r in group):
            ran = len(group) - left_out
            cells[-1] = f"{100 * sum(shares[-1]) / ran:.0f} ({sum(shares[-1])} of {ran})" if ran else "–"
        rows.append([library, kind, str(len(group)), *cells, str(wrong)])
    unconverted = [f"{r['model']} ({r['reason'].rstrip('.')})" for r in records if not r["converts"]]
    note = "Percent of n networks (their number), random weights, 4 random circular shifts of a photograph. "
    note += f"Not converted: {'; '.join(unconverted) or 'none'}."
    if not_run := [f"{r['model']} ({r['not_run_bfloat16'].rstrip('.')})" for r in records if "not_run_bfloat16" in r]:
        note += f" PyTorch does not run in bfloat16: {'; '.join(not_run)}."
    columns = [
        "Library",
        "Kind",
        "n",
        "Converts %",
        "Equal to 1e-6 %",
        "Bit-identical, float32 %",
        "Bit-identical, bfloat16 %",
    ]
    return table([*columns, "Grossly wrong"], rows, records, note)


def libraries(root: Path) -> str:
    """Networks of other libraries: which convert, and whether all they return is bit-identical."""
    records = read_results(root, "libraries")
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: r["model"]):
        groups.setdefault(record["library"], []).append(record)
    rows = []
    for library, group in groups.items():
        versions = ", ".join(dict.fromkeys(r["version"] for r in group))
        same = [r for r in group if r.get("identical_float32", False)]
        names = [r["model"].partition("/")[2] for r in group if r["converts"]]
        shares = [f"{len(part)} of {len(group)}" for part in (names, same)]
        rows.append([f"{library} {versions}", *shares, ", ".join(names) or "–"])
    refused = [f"{r['model']} ({r['reason'].rstrip('.')})" for r in records if not r["converts"]]
    note = "Small configurations, random weights; every output, and the loss where labels are taken, under 4 random circular shifts of noise. "
    note += f"Not converted: {'; '.join(refused) or 'none'}."
    if missing := [name for name, _ in members() if name not in {r["model"] for r in records}]:
        note += f" Not measured, for the package was not there: {', '.join(missing)}."
    return table(["Library", "Converts", "Bit-identical, float32", "Converted"], rows, records, note)
