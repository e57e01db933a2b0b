"""The look of all figures: one theme, and one colour per method."""

from __future__ import annotations

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from companion.models import layer_by_layer
from companion.models.methods import METHODS

# By every name that a method has, as trained here and as converted; and the control that is no method.
COLOURS = (
    {method.transferred: method.colour for method in METHODS.values() if method.transferred}
    | {method.printed: method.colour for method in METHODS.values()}
    | {layer_by_layer.NAME: layer_by_layer.COLOUR}
)


def use_style() -> None:
    """Seaborn's white theme, readable at half a page's width."""
    sns.set_theme(context="notebook", style="white", rc={"figure.dpi": 100, "axes.titlesize": 11})


def finished(fig: Figure, despine: bool = True, rect: tuple[float, float, float, float] | None = None) -> Figure:
    """A figure ready to be shown once, by the cell that ends in it."""
    if despine:
        sns.despine(fig)
    fig.tight_layout(rect=rect)
    plt.close(fig)
    return fig
