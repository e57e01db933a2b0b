"""The figures of notebook 15."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from companion.core.intervals import wilson
from companion.core.records import Record
from companion.figures import common
from companion.figures.style import COLOURS, finished, use_style
from companion.studies.stability.networks import BLENDED, CIRCULAR, MASS, PLAIN
from companion.studies.stability.trained import Arm

__all__ = ["changed_by", "jumps", "on_the_way", "stability_against", "tuned", "use_style"]
COLOUR = {BLENDED: "#1b9e77"}
STAGES = {"as published": ("o", False), "tuned": ("o", True), "tuned with noise": ("D", True)}  # marker, whether filled


def _colour(method: str) -> str:
    return COLOUR.get(method) or COLOURS.get(method, "#777777")


def on_the_way(logits: Mapping[str, Tensor], title: str) -> Figure:
    """The logit of one class along a line, a curve for each network."""
    fig, ax = plt.subplots(figsize=(7, 3.6))
    for method, curve in logits.items():
        ax.plot(range(len(curve)), curve, ".-" if method == MASS else "-", lw=1.6, color=_colour(method), label=method)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(title=title, xlabel="step on the line", ylabel="a logit")
    ax.legend(frameon=False)
    return finished(fig)


def jumps(table: pd.DataFrame, title: str) -> Figure:
    """The largest jump for finer and finer steps, on two logarithmic axes (columns: method, steps, jump)."""
    fig, ax = plt.subplots(figsize=(6.4, 3.8))
    for method, part in table.groupby("method", sort=False):
        ax.loglog(part["steps"], part["jump"], "o-", color=_colour(str(method)), label=method)
    counts = sorted(set(table["steps"]))
    ax.set_xticks(counts, [str(count) for count in counts], minor=False)
    ax.minorticks_off()
    ax.set(title=title, xlabel="steps on the same line", ylabel="largest change of a logit")
    ax.legend(frameon=False)
    return finished(fig)


def changed_by(rows: pd.DataFrame, title: str) -> Figure:
    """Labels that change, by change, a point per method with its 95% interval (columns: method, input, changed, n)."""
    shares = rows.pivot_table(index="input", columns="method", values="changed", sort=False)
    fewer, fewest = (shares[BLENDED] < shares[MASS]).sum(), (shares[PLAIN] <= shares.min(axis=1)).sum()
    told = f"fewer blended than with a choice under {fewer} of {len(shares)} changes,\nfewest with the plain network under {fewest}"
    title = f"{title}, n = {rows['n'].max():,}: {told}"
    return common.changed_by(rows, "input", "labels that change", title, _colour, numbers=True)


def stability_against(table: pd.DataFrame, title: str) -> Figure:
    """Labels changed by noise and accuracy, a row for each way, the steadiest first, with 95% intervals (Wilson).

    Filled: consistent at 100%. Columns: method, n, top1, consistency, changed_by_noise.
    """
    fields = {"changed_by_noise": "labels changed by noise of 2 grey levels, %", "top1": "top-1, %"}
    table = table.sort_values("changed_by_noise", kind="stable")
    fig, axes = plt.subplots(1, 2, figsize=(10.5, 1.8 + 0.32 * len(table)), sharey=True)
    for place, row in enumerate(table.itertuples()):
        colour = _colour(row.method)
        for ax, field in zip(axes, fields, strict=True):
            share = getattr(row, field)
            ax.plot(wilson(share, row.n), [place, place], color=colour, lw=1.8)
            ax.plot(share, place, "o", ms=8, color=colour, mfc=colour if row.consistency == 100 else "white")
    axes[0].set_yticks(range(len(table)), table["method"])
    axes[0].invert_yaxis()
    for ax, (field, label) in zip(axes, fields.items(), strict=True):
        ax.axvline(table.set_index("method")[field][MASS], color=_colour(MASS), lw=0.9, ls=":", zorder=0)
        ax.set_xlabel(label)
    by_name = table.set_index("method")["changed_by_noise"]
    exact = by_name[list(table["consistency"] == 100)]
    shown = [f"{name} {by_name[name]:.1f}%" for name in dict.fromkeys([*exact.index[:1], BLENDED, MASS])]
    told = f"Labels that noise changes, of the exact (filled): {'; '.join(shown)}"
    fig.suptitle(f"{title}, n = {table['n'].max():,} (bars: 95% intervals)\n{told}")
    return finished(fig)


def tuned(rows: Sequence[Record], title: str) -> Figure:
    """Labels changed by noise and accuracy of each network: as published, tuned, and tuned with noise (95% intervals).

    Args:
        rows: of `trained.rows`, by the names of `trained.Arm.used`.
    """
    found = {row["method"]: row for row in rows}
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    networks = [(PLAIN, PLAIN), (CIRCULAR, CIRCULAR), (MASS, MASS), (MASS, BLENDED), (BLENDED, BLENDED)]
    labels = [trained if trained == used else f"{trained}, used blended" for trained, used in networks]
    labels[-1] = f"{BLENDED} in training too"
    for place, (method, used) in enumerate(networks):
        names = used, Arm(method, 0).used(used), Arm(method, 1).used(used)
        for offset, name, (marker, filled) in zip((-0.2, 0, 0.2), names, STAGES.values(), strict=True):
            if (row := found.get(name)) is None:
                continue
            for ax, field in zip(axes, ("changed_by_noise", "top1"), strict=True):
                ax.plot(wilson(row[field], row["n"]), [place + offset] * 2, color=_colour(used), lw=1.6)
                ax.plot(
                    row[field],
                    place + offset,
                    marker,
                    color=_colour(used),
                    mfc=_colour(used) if filled else "white",
                    ms=7,
                )
    for stage, (marker, filled) in STAGES.items():
        axes[1].plot([], [], marker, color="#555555", mfc="#555555" if filled else "white", label=stage)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    axes[0].set(xlabel="labels changed by noise, %")
    axes[1].set(xlabel="top-1, %")
    axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    before, after = found.get(MASS), found.get(Arm(MASS, 0).used(MASS))
    told = (
        f"\nMASS: noise changes {before['changed_by_noise']:.1f}% of labels before tuning and {after['changed_by_noise']:.1f}% after"
        if before and after
        else ""
    )
    fig.suptitle(f"{title} (bars: 95% intervals){told}")
    return finished(fig)
