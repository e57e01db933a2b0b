"""Padding that stands apart from its operation: `F.pad(x, …)` or `nn.ZeroPad2d` directly before a convolution.

Rows and columns put around a map are the border of the window that reads them next: 'same' padding of TensorFlow, the
reflecting pad before a blur, an asymmetric pad before a stride. The pad goes, and the window wraps instead: only how
far its first output reaches to the left and above is kept, for the far side follows from giving H / stride outputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import fx

from mass.fx.rule import Effect, Site, name_of
from mass.nn.padding import Folded, NoPad

_KINDS = {"constant": "zero", "reflect": "reflecting", "replicate": "repeating", "circular": "circular"}


def _takes_up(user: fx.Node) -> bool:
    """Whether an operation takes up the padding before it."""
    kind = name_of(user)
    if user.op == "call_module":
        kind = type(user.graph.owning_module.get_submodule(str(user.target))).__name__  # type: ignore[union-attr]
    return any(word in kind.lower() for word in ("conv", "pool", "pad")) and "adaptive" not in kind.lower()


def pad(site: Site) -> Effect:
    """`F.pad`, `nn.ZeroPad2d`, `nn.ReflectionPad2d`, …: taken up by the next window."""
    given: Any = ()
    if site.module is not None:
        amounts: Any = site.module.padding
        mode = type(site.module).__name__
    else:
        given = site.node.args[1] if len(site.node.args) > 1 else site.node.kwargs["pad"]
        amounts, mode = site.argument(1, "pad"), site.argument(2, "mode", "constant")
    if any(not isinstance(v, int) for v in amounts):
        raise site.refuse(f"padding by {amounts}, which is not known before it runs")
    rank = len(site.shape)
    sides = {rank - 1 - i // 2: (amounts[i], amounts[i + 1]) for i in range(0, len(amounts), 2)}
    rows, columns = (sides.get(site.map.axes.get(i, -1), (0, 0)) for i in (0, 1))
    nodes: list[fx.Node] = []
    fx.node.map_arg(given, nodes.append)
    others = any(sides[d] != (0, 0) for d in sides if d not in site.map.dims)
    if others and (rows, columns) == ((0, 0), (0, 0)) and 0 not in sides:
        return Effect(site.map)
    if others and (nodes or 0 in sides or mode not in ("constant", "ZeroPad3d", "ConstantPad3d")):
        raise site.refuse("it pads positions and other axes at once", "pad in two steps")
    if (rows, columns) == ((0, 0), (0, 0)):
        return Effect(site.map, swap=NoPad(), inputs=(site.input, given)) if nodes else Effect(site.map)
    site.image_axes(None)
    if not all(_takes_up(user) for user in site.node.users):
        raise site.refuse("padding that is not the border of a window")
    pads = site.map.pads[0] + rows[0], site.map.pads[1] + columns[0]
    kind = next((word for name, word in _KINDS.items() if name in mode.lower()), _KINDS["constant"])
    if "replication" in mode.lower() or "reflection" in mode.lower():
        kind = _KINDS["replicate" if "replication" in mode.lower() else "reflect"]
    change = "" if kind == "circular" else f"{kind} padding wraps"
    rest = tuple(0 if rank - 1 - i // 2 in site.map.dims else v for i, v in enumerate(amounts)) if others else ()
    swap = Folded(rest, site.argument(3, "value") or 0.0)
    return Effect(replace(site.map, pads=pads), swap=swap, inputs=(site.input,), change=change,
                  breaks="" if kind == "circular" else "padding marks the border", folds=True)  # fmt: skip
