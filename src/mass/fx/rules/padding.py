"""Rules of padding that stands apart from its operation: `F.pad(x, …)` or `nn.ZeroPad2d` directly before a convolution.

Rows and columns put around a map are the border of the window that reads them next: 'same' padding of TensorFlow, the
reflecting pad before a blur, an asymmetric pad before a stride. The pad goes, and the window wraps instead: only how
far its first output reaches to the left and above is kept, for the far side follows from giving H / stride outputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import fx, nn

from mass.fx.nodes import nodes_in
from mass.fx.rule import Effect, Site, operation_of, rule
from mass.fx.rules.window import BORDER
from mass.nn.padding import Folded, NoPad

_KINDS = {"constant": "zero", "reflect": "reflecting", "replicate": "repeating", "circular": "circular"}


@rule(functions=["pad"], arguments=("input", "pad", "mode", "value"), takes_padding=True)
def pad(site: Site) -> Effect:
    return _pad(site, site.argument("pad"), site.argument("mode", "constant"), site.given("pad"))


@rule(
    modules=[nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d],
    takes_padding=True,
)
def constant_pad(site: Site) -> Effect:
    return _pad(site, site.argument("padding"), "constant")


@rule(modules=[nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d], takes_padding=True)
def reflection_pad(site: Site) -> Effect:
    return _pad(site, site.argument("padding"), "reflect")


@rule(modules=[nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d], takes_padding=True)
def replication_pad(site: Site) -> Effect:
    return _pad(site, site.argument("padding"), "replicate")


@rule(modules=[nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d], takes_padding=True)
def circular_pad(site: Site) -> Effect:
    return _pad(site, site.argument("padding"), "circular")


def _pad(site: Site, amounts: Any, mode: str, given: Any = ()) -> Effect:
    """Padding of the last axes by so much, taken up by the next window; `given`: the amounts as the graph has them."""
    if any(not isinstance(v, int) for v in amounts):
        raise site.refuse(f"padding by {amounts}, which is not known before it runs")
    rank = len(site.shape)
    sides = {rank - 1 - i // 2: (amounts[i], amounts[i + 1]) for i in range(0, len(amounts), 2)}
    rows, columns = (sides.get(site.map.axes.get(i, -1), (0, 0)) for i in (0, 1))
    nodes = nodes_in(given)
    others = any(sides[d] != (0, 0) for d in sides if d not in site.map.dims)
    if others and (rows, columns) == ((0, 0), (0, 0)) and 0 not in sides:
        return Effect(site.map)
    if others and (nodes or 0 in sides or mode != "constant"):
        raise site.refuse("it pads positions and other axes at once", "pad in two steps")
    if (rows, columns) == ((0, 0), (0, 0)):
        return Effect(site.map, swap=NoPad(), inputs=(site.input, given)) if nodes else Effect(site.map)
    site.image_axes(None)
    if not all(_takes_padding(user) for user in site.node.users):
        raise site.refuse("padding that is not the border of a window")
    pads = site.map.pads[0] + rows[0], site.map.pads[1] + columns[0]
    kind = _KINDS[mode]
    rest = tuple(0 if rank - 1 - i // 2 in site.map.dims else v for i, v in enumerate(amounts)) if others else ()
    swap = Folded(rest, site.argument("value") or 0.0)
    marks = kind != "circular"
    return Effect(
        replace(site.map, pads=pads),
        swap=swap,
        inputs=(site.input,),
        change=f"{kind} padding wraps" if marks else "",
        breaks=BORDER if marks else "",
    )


def _takes_padding(user: fx.Node) -> bool:
    operation = operation_of(user)
    return operation is not None and operation.takes_padding
