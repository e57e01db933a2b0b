"""The look of all figures: one theme, and one colour per method."""

from __future__ import annotations

import seaborn as sns

# One colour per method, the same in every figure.
COLOURS = {
    "plain": "#8a8a8a",
    "circular padding": "#c98b2f",
    "APS": "#7a5aa6",
    "layer by layer": "#c0504d",
    "MASS": "#1f77b4",
}


def use_style() -> None:
    """The look of all figures: seaborn's white theme, readable at half a page's width."""
    sns.set_theme(context="notebook", style="white", rc={"figure.dpi": 100, "axes.titlesize": 11})
