"""The README's generated tables, from results/ only.

A table stands between `<!-- results:NAME -->` and `<!-- /results:NAME -->`; `make publish` writes what is between, and
a test holds it against results/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from companion.errors import Refusal
from companion.paper import NETWORKS, TABLE_2
from companion.records import Record, is_study, mean_std
from companion.results import read_results

_BLOCK = re.compile(r"(<!-- results:(\w+) -->\n).*?(<!-- /results:\2 -->)", re.DOTALL)

# What the paper's text still says of its Table 3, whose body is lost. Only the first can be checked row by row.
_STATEMENTS = {"MASS": "100% consistency", "APS": "transfer 'significantly' worse"}
_VALIDATION_SET = 50_000  # images: the paper's scale


def refresh(text: str, root: Path) -> str:
    """The README with every marked table written anew."""

    def written(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise Refusal(f"README.md marks a table {match[2]!r} that nobody makes; known: {', '.join(TABLES)}.")
        return match[1] + TABLES[match[2]](root) + "\n" + match[3]

    marks = re.findall(r"<!-- /?results:\w+ -->", text)
    made, count = _BLOCK.subn(written, text)
    if 2 * count != len(marks):
        raise Refusal("README.md opens and closes its generated tables unevenly: each needs both of its markers.")
    return made


def weight_transfer(root: Path) -> str:
    """The paper's Table 3: published weights in converted networks, without training."""
    records = _most_images([record for record in read_results(root, "weight_transfer") if "rule" not in record])
    columns = ["Network", "Method", "Images (n)", "Top-1 %", "Shifted top-1 %", "Consistency %", "Changed by noise %"]
    rows = []
    for record in records:
        shares = (record[name] for name in ("top1", "shifted_top1", "consistency", "changed_by_noise"))
        rows.append(
            [
                record["model"],
                record["method"],
                f"{record['dataset']} ({record['n']:,})",
                *(percent(share, record["n"]) for share in shares),
                _where(record, records),
                _STATEMENTS.get(record["method"], "–"),
                verdict(record),
            ]
        )
    note = "In brackets: 95% confidence (Wilson) over the n images. The subset is easier than the validation set."
    return _table([*columns, "Profile", "The paper states", "Verdict"], rows, records, note)


def _most_images(records: list[Record]) -> list[Record]:
    """Of several runs of one network and method, that on the most images; the others stay in results/."""
    most: dict[tuple[str, str], Record] = {}
    for record in records:
        key = record["model"], record["method"]
        if key not in most or record["n"] > most[key]["n"]:
            most[key] = record
    return list(most.values())


def verdict(record: Record) -> str:
    """Whether a row of Table 3 bears the paper out; one counter-example is enough to say no, at any scale."""
    if record["method"] == "MASS" and record["consistency"] < 100:
        return "not reproduced"
    if record["profile"] != "paper" or record["n"] < _VALIDATION_SET:
        return "not run at paper scale"
    return "reproduced" if record["method"] == "MASS" else "no number to compare with"


def exactness(root: Path) -> str:
    """Notebook 02: the share of shifts that pick another grid, by method and dtype, over all images."""
    records = [record for record in read_results(root, "mass_layer") if "another_grid" in record]
    dtypes = list(dict.fromkeys(record["dtype"] for record in records))
    cells: dict[tuple[str, ...], dict[str, tuple[float, int]]] = {}
    for record in records:
        row = cells.setdefault((record["model"], record["method"], _where(record, records)), {})
        share, n = row.get(record["dtype"], (0.0, 0))
        more = record["shifts"]
        row[record["dtype"]] = ((share * n + record["another_grid"] * more) / (n + more), n + more)
    rows = [
        [model, method, *(f"{row[d][0]:.1f} (n = {row[d][1]})" if d in row else "–" for d in dtypes), where]
        for (model, method, where), row in cells.items()
    ]
    # No interval: the shifts of one image are no independent draws.
    note = "Percent of n circular shifts, over all images of notebook 02."
    return _table(["Network (random weights)", "Method", *dtypes, "Profile"], rows, records, note)


def speed(root: Path) -> str:
    """Forward time beside the plain network's, as ratios of medians."""
    rows: dict[tuple[str, ...], dict[str, Record]] = {}
    records = read_results(root, "speed")
    for record in records:
        where = (record["net"], str(record["batch"]), str(record["size"]), machine(record))
        rows.setdefault(where, {})[record["method"]] = record
    order = ["circular padding", "MASS"]  # what it is measured against first; then the peers
    methods = sorted({r["method"] for r in records} - {"plain"}, key=lambda m: ([*order, m]).index(m))
    cells = [
        [net, batch, size, where, _milliseconds(row["plain"]), *(_ratio(row.get(m), row["plain"]) for m in methods)]
        for (net, batch, size, where), row in rows.items()
        if "plain" in row
    ]
    note = "Plain: median milliseconds; the others: times that, in brackets their quartiles; interleaved in one run."
    columns = ["Network", "Batch", "Pixels", "Machine", "Plain (ms)"]
    return _table([*columns, *(f"{name} (×)" for name in methods)], cells, records, note)


def training(root: Path) -> str:
    """Time of a training step beside the baseline's, as ratios of medians."""
    records = read_results(root, "training")
    rows = [
        [
            *(record["net"], record["method"], str(record["batch"]), record["dtype"]),
            f"{record['images_per_s']:,.0f}",
            f"{record['ratio']:.2f} ({record['ratio_low']:.2f} to {record['ratio_high']:.2f})",
            "–" if record.get("peak_share") is None else f"{record['peak_share']:.1f}",
            f"{machine(record)}, {record['threads']} threads" if record["device"] == "cpu" else machine(record),
        ]
        for record in records
    ]
    columns = ["Network", "Method", "Batch", "Precision", "Pictures/s", "Step (×)", "Share of bf16 peak %", "Machine"]
    note = "Steps are times the baseline's, in brackets the quartiles; all methods take turns in one run."
    return _table(columns, rows, records, note)


def _milliseconds(record: Record) -> str:
    return f"{record['milliseconds']:,.0f} (n = {record['rounds']})"


def _ratio(record: Record | None, plain: Record) -> str:
    if record is None:
        return "–"
    low, high = (record[f"quartile_{end}"] / plain["milliseconds"] for end in ("low", "high"))
    return f"{record['ratio']:.2f} ({low:.2f} to {high:.2f})"


def cifar10(root: Path) -> str:
    """The paper's Table 2: trained networks, mean and standard deviation over seeds."""
    records = [r for r in read_results(root, "cifar10") if not is_study(r) and r["dataset"] == "cifar10"]
    printed = {(row.method, NETWORKS[row.network]): row for row in TABLE_2}
    runs: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        runs.setdefault((record["profile"], record["net"], record["method"], str(record["epochs"])), []).append(record)
    rows = []
    for (profile, net, method, epochs), group in runs.items():
        stated = printed.get((method, net))
        rows.append(
            [
                *(net, method, epochs, str(len(group))),
                *(mean_std([r[field] for r in group]) for field in ("top1", "shifted_top1", "consistency")),
                *((str(stated.accuracy), str(stated.consistency)) if stated else ("–", "–")),
                _where(group[0], records),
                "see notebook 13" if profile == "paper" else "not run at paper scale",
            ]
        )
    hours = sum(record["train_seconds"] for record in records) / 3600
    note = (
        "Mean ± standard deviation over n seeds, of the 10,000 test pictures. The paper: 250 epochs, n = 5. "
        f"Training took {hours:.1f} hours, all runs added up."
    )
    columns = ["Network", "Method", "Epochs", "n", "Top-1 %", "Shifted top-1 %", "Consistency %"]
    paper = ["Paper's top-1 %", "Paper's consistency %"]
    return _table([*columns, *paper, "Profile", "Verdict"], rows, records, note)


def transfer(root: Path) -> str:
    """The small sibling of Tables 3 and 4: the published ResNet-20 converted, then fine-tuned."""
    records = [r for r in read_results(root, "cifar10") if "stage" in r and r["dataset"] == "cifar10"]
    rows = [
        [
            *(record["net"], record["method"]),
            "none" if record["stage"] == "transferred" else f"{record['epochs']} epochs",
            *(percent(record[field], record["n"]) for field in ("top1", "shifted_top1", "consistency")),
            _where(record, records),
        ]
        for record in records
    ]
    columns = ["Network", "Method", "Training", "Top-1 %", "Shifted top-1 %", "Consistency %", "Profile"]
    return _table(columns, rows, records, "In brackets: 95% confidence (Wilson) over CIFAR-10's 10,000 test pictures.")


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
    return _table([*columns, "Grossly wrong"], rows, records, note)


TABLES: dict[str, Callable[[Path], str]] = {
    "zoo": zoo,
    "cifar10": cifar10,
    "transfer": transfer,
    "weight_transfer": weight_transfer,
    "exactness": exactness,
    "speed": speed,
    "training": training,
}


def percent(share: float, n: int) -> str:
    """A percentage with its 95% Wilson interval: 75.5 (69.1 to 80.9)."""
    p, z = share / 100, 1.959964
    centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (100 * (centre + sign * width) / (1 + z * z / n) for sign in (-1, 1))
    return f"{share:.1f} ({max(low, 0):.1f} to {min(high, 100):.1f})"


def machine(record: Record) -> str:
    """The accelerator, or else the processor."""
    return record["cpu"] if record["device"] == "cpu" else record["device"]


def _where(record: Record, records: list[Record]) -> str:
    """The profile, and the machine where there are several."""
    several = len({machine(other) for other in records}) > 1
    return f"{record['profile']}, {machine(record)}" if several else record["profile"]


def _table(columns: list[str], rows: Iterable[list[str]], records: list[Record], note: str) -> str:
    """In Markdown; below it what its numbers are, and which runs they come from."""
    if not records:
        return "Nothing is published yet: `make repro`, then `make publish`."
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]
    runs = dict.fromkeys(
        f"{record['profile']}, {record['started'][:10]}, {machine(record)}, torch {record['torch']}, "
        f"{record['seconds']:,.0f} s, {record['peak_memory_mb']:,} MB, commit {(record['commit'] or 'unknown')[:7]}"
        + (" with changes" if record["modified"] else "")
        for record in records
    )
    return "\n".join([*lines, "", f"{note} Runs: {'; '.join(runs)}."])
