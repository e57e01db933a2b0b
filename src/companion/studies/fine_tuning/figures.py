"""The figure of notebook 07."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from companion.core.intervals import wilson
from companion.figures.style import COLOURS, finished
from companion.studies.fine_tuning.answers import Answers, shares

_SHOWN = {
    "top1": "top-1, %",
    "consistency": "consistency under circular shifts, %",
    "changed_by_noise": "labels changed by noise, %",
}


def before_and_after(answered: Mapping[str, Mapping[str, Answers]], title: str) -> Figure:
    """Each method's percentages before and after, with 95% intervals (Wilson)."""
    fig, axes = plt.subplots(1, len(_SHOWN), figsize=(11, 1.6 + 0.55 * len(answered)), sharey=True)
    for ax, (field, label) in zip(axes, _SHOWN.items(), strict=True):
        for place, (method, stages) in enumerate(answered.items()):
            colour = COLOURS[method]
            points = []
            for stage, offset in (("before", -0.14), ("after", 0.14)):
                found = shares(stages[stage])
                low, high = wilson(found[field], found["n"])
                ax.plot([low, high], [place + offset] * 2, color=colour, lw=1.5)
                ax.plot(
                    found[field], place + offset, "o", color=colour, mfc="white" if stage == "before" else colour, ms=7
                )
                ax.annotate(
                    f"{found[field]:.1f}",
                    (high, place + offset),
                    (5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
                points.append((found[field], place + offset))
            ax.annotate("", points[1], points[0], arrowprops={"arrowstyle": "->", "color": colour, "alpha": 0.6})
        ax.set_xlabel(label)
        ax.margins(x=0.18, y=0.15)
    axes[0].set_yticks(range(len(answered)), list(answered))
    axes[0].invert_yaxis()
    fig.suptitle(f"{title}: before (white) and after (filled)", fontsize=11)
    return finished(fig)
