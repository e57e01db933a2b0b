"""Rules of operations that change a map's size between positions: interpolation, pixel shuffles."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from mass.axes import sizes_along
from mass.functional.interpolate import MODES
from mass.fx.rule import Effect, Site
from mass.fx.rules.window import FRAME, windowed
from mass.nn.resize import CircularDownsample, CircularUpsample, InTime, OnMaps


def interpolate(site: Site) -> Effect:
    """`nn.Upsample` and `F.interpolate` by integer factors (along time, by any)."""
    site.image_axes(None)
    dims, now, then = site.map.dims, site.shape, site.node.meta["shape"]
    before, after, frames = sizes_along(now, dims), sizes_along(then, dims), then[2] / now[2]
    given = str(site.argument(3, "mode", "nearest"))
    mode = {"linear": "bilinear", "trilinear": "bilinear"}.get(given, given)
    if mode not in MODES:
        raise site.refuse(f"interpolation by '{mode}'", f"use one of {', '.join(MODES)}")
    corners = bool(site.argument(4, "align_corners"))

    def on_axes(swap: nn.Module) -> nn.Module:
        if len(now) == 5:
            return InTime(swap, frames, given, corners)
        return swap if dims == (2, 3) else OnMaps(swap, dims)

    if after != before and not (before[0] % after[0] or before[1] % after[1]) and not site.argument(5, "antialias"):
        period = before[0] // after[0], before[1] // after[1]
        effect = windowed(site, period, False, on_axes(CircularDownsample(period, mode)), axes=None)
        effect.change += ", half-pixel centres" if mode != "nearest" else ""
        return effect
    if after[0] % before[0] or after[1] % before[1]:
        raise site.refuse(f"interpolation from {before} to {after} is not by an integer factor")
    factor = after[0] // before[0], after[1] // before[1]
    size = size_of(site)
    inputs = (site.input, size)
    swap = on_axes(CircularUpsample(factor, mode))
    if factor == (1, 1):
        return Effect(site.map, swap=swap, inputs=inputs) if len(now) == 5 and frames != 1 else Effect(site.map)
    change = "moved back" if mode == "nearest" else "wraps, half-pixel centres, moved back"
    if corners:
        change += ", corners no longer aligned"
    return Effect(site.map, up=factor, swap=swap, inputs=inputs, change=change, resizes=size is not None,
                  breaks="" if mode == "nearest" else "repeats the border")  # fmt: skip


def size_of(site: Site) -> Any:
    """The size that an interpolation is given, if it follows from the input's size."""
    if site.module is not None:
        return None
    size = site.node.args[1] if len(site.node.args) > 1 else site.node.kwargs.get("size")
    nodes: list[fx.Node] = []
    fx.node.map_arg(size, nodes.append)
    return size if nodes else None


def _shuffle(site: Site) -> Effect:
    """Pixel shuffle: channels become positions, with no border to see."""
    site.image_axes()
    r = site.argument(1, "upscale_factor")
    return Effect(site.map, up=(r, r), change="moved back")


def _unshuffle(site: Site) -> Effect:
    """Pixel unshuffle: positions become channels, with the period of a stride."""
    site.image_axes()
    r = site.argument(1, "downscale_factor")
    return Effect(site.map, (r, r), change="origin from the features", breaks=FRAME)
