"""Rules of operations on single pixels."""

from __future__ import annotations

from torch import nn

from mass.axes import pair_of
from mass.fx.rule import Effect, Rule, Site, is_in_place, recast
from mass.fx.rules.window import FRAME
from mass.marks import marked_period
from mass.nn.pointwise import Elementwise, FunctionalLinear, PixelwiseLinear, Power


def _activation(cls: type[nn.Module] | None) -> Rule:
    """Activations whose vector and scalar code round differently; `cls` builds one from a functional call."""

    def rule(site: Site) -> Effect:
        if site.module is not None:
            return Effect(site.map, swap=Elementwise(site.module), inputs=(site.input,))
        options = {k: v for k, v in site.node.kwargs.items() if k not in ("input", "inplace")}
        assert cls is not None
        swap = Elementwise(cls(*site.node.args[1:], **options), is_in_place(site.node))
        return Effect(site.map, swap=swap, inputs=(site.input,))

    return rule


def _power(site: Site) -> Effect:
    exponent = site.argument(1, "exponent")
    if exponent in (1, 2, 3, 0.5):  # products and a square root: the same everywhere
        return Effect(site.map)
    return Effect(site.map, swap=Power(), inputs=(site.input, site.node.args[1]))


def _linear(site: Site) -> Effect:
    if len(site.shape) - 1 in site.map.dims:
        raise site.refuse("a linear layer mixes positions")
    if site.module is None:
        weight, bias = (site.argument(i, name) for i, name in ((1, "weight"), (2, "bias")))
        if site.values.get(weight):
            raise site.refuse("a linear layer whose weights are a map")
        return Effect(site.map, swap=FunctionalLinear(), inputs=(site.input, weight, bias))
    if type(site.module) is not nn.Linear:
        return Effect(site.map)
    return Effect(site.map, swap=recast(site.module, PixelwiseLinear), inputs=(site.input,))


def _marked(site: Site) -> Effect:
    period = marked_period(site.module) if site.module is not None else None
    assert period is not None
    return Effect(site.map, pair_of(period, len(site.map.dims)), breaks="" if period == 1 else FRAME)


def _pixelwise(site: Site) -> Effect:
    return Effect(site.map)


def _as_input(site: Site) -> Effect:
    """`x.to(y)`, `x.type_as(y)`: what x is, whatever y is."""
    return Effect(site.values.get(site.input))


_exponential = _activation(None)
