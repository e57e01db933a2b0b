"""The README's tables of what the paper measures: Tables 2, 3 and 5, and the small sibling of 3 and 4."""

from __future__ import annotations

from pathlib import Path

from companion.markdown import percent, table, where
from companion.paper import NETWORKS, TABLE_2
from companion.records import Record, is_study, mean_std
from companion.results import read_results

# What the paper's text still says of its Table 3, whose body is lost. Only the first can be checked row by row.
_STATEMENTS = {"MASS": "100% consistency", "APS": "transfer 'significantly' worse"}
_VALIDATION_SET = 50_000  # images: the paper's scale


def weight_transfer(root: Path) -> str:
    """The paper's Table 3: published weights in converted networks, without training."""
    records = _most_images([record for record in read_results(root, "weight_transfer") if not is_study(record)])
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
                where(record, records),
                _STATEMENTS.get(record["method"], "–"),
                verdict(record),
            ]
        )
    note = "In brackets: 95% confidence (Wilson) over the n images. The subset is easier than the validation set."
    return table([*columns, "Profile", "The paper states", "Verdict"], rows, records, note)


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
    return table(columns, rows, records, "In brackets: 95% confidence (Wilson) over CIFAR-10's 10,000 test pictures.")


_TABLE_5 = {"miou": 2, "mascc_paper": 4, "mascc_lps": 4, "identical": 2}  # fields, and their digits


def segmentation(root: Path) -> str:
    """The paper's Table 5: trained segmenters, mean and standard deviation over seeds."""
    records = [r for r in read_results(root, "segmentation") if r["dataset"] != "scenes"]
    runs: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (record["model"], record["method"], record["dataset"], f"{record['iterations']:,}")
        runs.setdefault((*key, record["profile"]), []).append(record)
    rows = [
        [
            *(*key, str(len(group)), f"{group[0]['n']:,}"),
            *(mean_std([r[field] for r in group], digits) for field, digits in _TABLE_5.items()),
            where(group[0], records),
            segmentation_verdict(group),
        ]
        for (*key, _), group in runs.items()
    ]
    columns = ["Network", "Method", "Data set", "Iterations", "Seeds", "Pictures", "mIoU %", "mASCC % (eq. 5)"]
    note = (
        "mASCC by the paper's protocol and by LPS's; to the bit: pictures whose scores moved along exactly. The paper trains "
        "30,000 iterations on 10,582 pictures; the numbers of its Table 5 are lost."
    )
    return table([*columns, "mASCC % (LPS)", "To the bit %", "Profile", "Verdict"], rows, records, note)


def segmentation_verdict(records: list[Record]) -> str:
    """Whether a row of Table 5 bears out 'perfect shift equivariance'; one counter-example is enough to say no."""
    if records[0]["method"] == "MASS" and min(r["mascc_paper"] for r in records) < 100:
        return "not reproduced"
    if records[0]["profile"] != "paper":
        return "not run at paper scale"
    return "reproduced" if records[0]["method"] == "MASS" else "no number to compare with"
