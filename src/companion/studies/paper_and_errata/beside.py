"""The paper's tables beside ours. Ours come from results/ only, and an absent record is said to be absent.

A number of a smaller profile is never put beside one of the paper's: such runs are listed on their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.image as mpimg
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from companion.core.published import read_results
from companion.core.records import Record, is_study, mean_std
from companion.figures.style import COLOURS, finished
from companion.measures.paired_t import cells
from companion.paper import verdicts
from companion.paper.errata import Erratum
from companion.paper.printed import BASELINE, METHODS, NETWORKS, TABLE_2
from companion.studies.paper_and_errata.claims import decided

NOT_RUN = "not run"

# The notebooks that draw the paper's figures.
FIGURES = {1: "02_mass_layer", 2: "02_mass_layer", 3: "03_lattices", 4: "04_going_back_up"}


def _sheet(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markdown:
    """A table of sentences, which Markdown sets better than pandas does: to the left, and formulas as formulas."""
    lines = [columns, [":---"] * len(columns), *rows]
    return Markdown("\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines))


def _with_count(values: Sequence[float], digits: int = 2) -> str:
    return f"{mean_std(values, digits)} ({len(values)})" if values else NOT_RUN


def _of_row(records: Sequence[Record], method: str, network: str, field: str) -> list[float]:
    """A field of the records of the paper's own profile that measured this row, one per seed; studies of it left out."""
    return [
        record[field]
        for record in records
        if record["profile"] == "paper"
        and record.get("method") == method
        and record.get("net", record.get("model")) == NETWORKS[network]
        and field in record
        and not is_study(record)
    ]


def table_2(root: Path) -> pd.DataFrame:
    """The paper's Table 2, ours beside it where it was run as published, and a verdict per value."""
    records = read_results(root, "cifar10")
    rows = []
    for row in TABLE_2:
        for name, cell, field in (("accuracy", row.accuracy, "top1"), ("consistency", row.consistency, "consistency")):
            ours = _of_row(records, row.method, row.network, field)
            rows.append(
                {
                    "network": row.network,
                    "method": row.method,
                    "quantity": name,
                    "paper": str(cell),
                    "ours (runs)": _with_count(ours),
                    "verdict": verdicts.on_mean(cell, ours),
                }
            )
    table = pd.DataFrame(rows).pivot(
        index=["network", "method"], columns="quantity", values=["paper", "ours (runs)", "verdict"]
    )
    order = [(network, method) for network in NETWORKS for method in METHODS]
    return table.reorder_levels([1, 0], axis=1).sort_index(axis=1, level=0, sort_remaining=False).loc[order]


def printed_gains() -> pd.DataFrame:
    """Accuracy of the three MASS rows over the baseline, in percentage points, from Table 2."""
    accuracy = {(row.method, row.network): row.accuracy.mean for row in TABLE_2}
    return pd.DataFrame(
        {n: {m: accuracy[m, n] - accuracy[BASELINE, n] for m in METHODS if m.startswith("MASS")} for n in NETWORKS}
    ).round(2)


def above(method: str = "MASS") -> pd.DataFrame:
    """Per network, the rows of Table 2 without MASS whose accuracy is above that of a row with it."""
    accuracy = {(row.method, row.network): row.accuracy.mean for row in TABLE_2}
    others = [m for m in METHODS if "MASS" not in m]
    rows = {n: [m for m in others if accuracy[m, n] > accuracy[method, n]] for n in NETWORKS}
    return pd.DataFrame({f"above {method}": [", ".join(names) or "none" for names in rows.values()]}, index=list(rows))


def accuracies() -> Figure:
    """Table 2's accuracies as printed: mean and standard deviation, one panel per network."""
    fig, axes = plt.subplots(1, len(NETWORKS), figsize=(12.5, 4), sharey=True)
    for ax, network in zip(axes, NETWORKS, strict=True):
        rows = [row for row in TABLE_2 if row.network == network]
        for place, row in enumerate(rows):
            ax.errorbar(
                row.accuracy.mean, place, xerr=row.accuracy.std, fmt="o", ms=8, capsize=3, color=COLOURS[row.method]
            )
            ax.annotate(f"{row.accuracy.mean:.2f}", (row.accuracy.mean, place), xytext=(0, 7), ha="center",
                        textcoords="offset points", fontsize=9)  # fmt: skip
        plain = next(row.accuracy.mean for row in rows if row.method == "MASS")
        ax.axvline(plain, color=COLOURS["MASS"], lw=1, ls=":")
        ax.set(
            title=f"{network}, the paper's values", xlabel="accuracy on CIFAR-10, % (bars: ± std of 5 runs, as printed)"
        )
        ax.set_yticks(range(len(rows)), [row.method for row in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.8)
    return finished(fig)


def claims(root: Path) -> Markdown:
    """The paper's claims, what is to be said of each, and the records that say it."""
    rows = [[c.where, f"“{c.quote}”", f"**{verdict}**", evidence] for c, verdict, evidence in decided(root)]
    return _sheet(["where", "the paper says", "verdict", "what it rests on"], rows)


def beside_aps(root: Path) -> Markdown:
    """MASS minus APS at equal filters, paired by seed, at every scale that was trained."""
    runs = [r for r in read_results(root, "cifar10") if r["dataset"] == "cifar10" and not is_study(r)]
    rows = cells(runs)
    columns = ["network", "epochs", "method", "against", "n", "difference, points (95%)", "p", "p (Holm)", "verdict"]
    return _sheet(columns, rows) if rows else Markdown(f"*{NOT_RUN}*")


def fewer_epochs(root: Path) -> Markdown:
    """Published trainings on CIFAR-10 below the paper's scale: to be compared with each other, not with the paper."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in read_results(root, "cifar10"):
        if r["profile"] != "paper" and r["dataset"] == "cifar10" and not is_study(r):
            groups.setdefault((r["net"], r["method"], str(r["epochs"]), r["profile"]), []).append(r)
    fields = ("top1", "shifted_top1", "consistency")
    rows = [[*key, *(_with_count([r[name] for r in group]) for name in fields)] for key, group in groups.items()]
    columns = ["network", "method", "epochs", "profile", "top-1 (runs)", "shifted top-1", "consistency"]
    return _sheet(columns, rows) if rows else Markdown(f"*{NOT_RUN}*")


def smaller_runs(root: Path) -> Markdown:
    """Published records of weight transfer on the most images: to be compared with each other, not with the paper."""
    found = [r for r in read_results(root, "weight_transfer") if not is_study(r)]
    most = max((r["n"] for r in found), default=0)
    columns = ["network", "method", "top-1", "consistency", "images", "data set", "profile"]
    rows = [
        [r["model"], r["method"], f"{r['top1']:.2f}", f"{r['consistency']:.2f}", r["n"], r["dataset"], r["profile"]]
        for r in found
        if r["n"] == most
    ]
    return _sheet(columns, rows) if rows else Markdown(f"*{NOT_RUN}*")


def fewer_iterations(root: Path) -> Markdown:
    """Published trainings of segmenters below the paper's scale: to be compared with each other, not with the paper."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in read_results(root, "segmentation"):
        if r["profile"] != "paper" and r["dataset"] != "scenes":
            key = (r["model"], r["method"], r["dataset"], f"{r['iterations']:,}", r["profile"])
            groups.setdefault(key, []).append(r)
    fields = {"mascc_paper": 4, "identical": 2}  # and their digits
    rows = [
        [*key, *(_with_count([r[name] for r in group], digits) for name, digits in fields.items())]
        for key, group in groups.items()
    ]
    columns = ["network", "method", "data set", "iterations", "profile", "mASCC (runs)", "bit-identical"]
    return _sheet(columns, rows) if rows else Markdown(f"*{NOT_RUN}*")


def errata(group: Sequence[Erratum]) -> Markdown:
    """Errata as a table, those that matter to an implementer marked."""
    rows = [["●" if e.matters else "", e.where, f"“{e.quote}”", e.remark, e.here] for e in group]
    return _sheet(["", "where", "the paper", "remark", "here"], rows)


def unstated(choices: Sequence[tuple[str, str, str]]) -> Markdown:
    """What the paper leaves open, the possibilities, and the choice made here."""
    return _sheet(["not stated", "it could be", "here"], choices)


def figure(root: Path, number: int) -> Figure | Markdown:
    """The published drawing of one of the paper's figures, or which notebook draws it."""
    notebook = FIGURES[number]
    path = root / "figures" / f"{notebook[:2]}_figure_{number}.png"
    if not path.exists():
        return Markdown(f"*Figure {number} is not published yet: notebook {notebook} draws it.*")
    drawing = mpimg.imread(path)
    height, width = drawing.shape[:2]
    fig, ax = plt.subplots(figsize=(12, 12 * height / width))
    ax.imshow(drawing, interpolation="antialiased")
    ax.axis("off")
    fig.subplots_adjust(0, 0, 1, 1)
    plt.close(fig)
    return fig
