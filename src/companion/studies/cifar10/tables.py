"""The README's Table 2, and the small sibling of Tables 3 and 4."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import percent, table, where
from companion.core.published import read_results
from companion.core.records import Record, is_study, mean_std
from companion.paper.printed import NETWORKS, TABLE_2
from companion.paper.verdicts import NOT_AT_SCALE


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
                where(group[0], records),
                "see notebook 13" if profile == "paper" else NOT_AT_SCALE,
            ]
        )
    hours = sum(record["train_seconds"] for record in records) / 3600
    note = (
        "Mean ± standard deviation over n seeds, of the 10,000 test images. The paper: 250 epochs, n = 5. "
        f"Training took {hours:.1f} hours, all runs added up."
    )
    columns = ["Network", "Method", "Epochs", "n", "Top-1 %", "Shifted top-1 %", "Consistency %"]
    paper = ["Paper's top-1 %", "Paper's consistency %"]
    return table([*columns, *paper, "Profile", "Verdict"], rows, records, note)


def transfer(root: Path) -> str:
    """The small sibling of Tables 3 and 4: the published ResNet-20 converted, then fine-tuned."""
    records = [r for r in read_results(root, "cifar10") if "stage" in r and r["dataset"] == "cifar10"]
    rows = [
        [
            *(record["net"], record["method"]),
            "none" if record["stage"] == "transferred" else f"{record['epochs']} epochs",
            *(percent(record[field], record["n"]) for field in ("top1", "shifted_top1", "consistency")),
            where(record, records),
        ]
        for record in records
    ]
    columns = ["Network", "Method", "Training", "Top-1 %", "Shifted top-1 %", "Consistency %", "Profile"]
    return table(columns, rows, records, "In brackets: 95% confidence (Wilson) over CIFAR-10's 10,000 test images.")
