"""Rules of operations that change a map's size between positions: interpolation, pixel shuffles."""

from __future__ import annotations

from typing import Any

from torch import nn

from mass.axes import Pair, sizes_along
from mass.functional.interpolate import MODES
from mass.fx.nodes import nodes_in
from mass.fx.rule import FRAME, FROM_FEATURES, Effect, Site, rule
from mass.fx.rules.window import windowed
from mass.nn.resize import CircularDownsample, CircularUpsample, InTime, OnMaps


def _enlarge_constant(site: Site) -> Effect:
    """Interpolation of a single position: the same value at all."""
    rows, columns = site.node.meta["shape"][2:]
    swap = CircularUpsample((rows, columns), str(site.argument("mode", "nearest")))
    return Effect(None, swap=swap, inputs=(site.input, _size_of(site)), uniform=True)


@rule(
    modules=[nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d],
    functions=["interpolate"],
    arguments=("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias"),
    of_constant=_enlarge_constant,
)
def interpolate(site: Site) -> Effect:
    """By integer factors (along time, by any), up or down."""
    site.image_axes(None)
    dims, now, then = site.map.dims, site.shape, site.node.meta["shape"]
    before, after, frames = sizes_along(now, dims), sizes_along(then, dims), then[2] / now[2]
    given = str(site.argument("mode", "nearest"))
    mode = {"linear": "bilinear", "trilinear": "bilinear"}.get(given, given)
    if mode not in MODES:
        raise site.refuse(f"interpolation by '{mode}'", f"use one of {', '.join(MODES)}")
    corners = bool(site.argument("align_corners"))
    fixed = site.argument("size") is not None and _size_of(site) is None and len(now) == 2 + len(dims)
    named = after if fixed else None

    def on_axes(swap: nn.Module) -> nn.Module:
        if len(now) == 5:
            return InTime(
                swap, frames, given, corners, _factors(site, 3)[0], bool(site.argument("recompute_scale_factor"))
            )
        return swap if dims == (2, 3) else OnMaps(swap, dims)

    if not _by_ratio(site, before, after):
        between = f"interpolation by {site.argument('scale_factor')} from {before} to {after} samples between"
        raise site.refuse(between, "give its size, or recompute_scale_factor=True")
    smaller = after != before and not (before[0] % after[0] or before[1] % after[1])
    if smaller and site.argument("antialias"):
        raise site.refuse(
            "reducing with antialias=True reads windows of its own",
            "filter before a stride with mass.antialias, or leave antialias out",
        )
    if smaller:
        period = before[0] // after[0], before[1] // after[1]
        effect = windowed(site, period, False, on_axes(CircularDownsample(period, mode, named)))
        effect.change += ", half-pixel centres" if mode != "nearest" else ""
        return effect
    if after[0] % before[0] or after[1] % before[1]:
        raise site.refuse(f"interpolation from {before} to {after} is not by an integer factor")
    factor = after[0] // before[0], after[1] // before[1]
    size = _size_of(site)
    inputs = (site.input, size)
    swap = on_axes(CircularUpsample(factor, mode, named))
    if factor == (1, 1):
        needed = (len(now) == 5 and frames != 1) or named
        return Effect(site.map, swap=swap, inputs=inputs) if needed else Effect(site.map)
    change = "moved back" if mode == "nearest" else "wraps, half-pixel centres, moved back"
    if corners:
        change += ", corners no longer aligned"
    breaks = "" if mode == "nearest" else "repeats the border"
    resizes = size is not None
    return Effect(site.map, up=factor, swap=swap, inputs=inputs, change=change, breaks=breaks, resizes=resizes)


def _factors(site: Site, axes: int) -> tuple[float | None, ...]:
    """The factors that are given, of each axis; None where a size is."""
    factor = site.argument("scale_factor")
    return tuple(factor) if isinstance(factor, tuple | list) else (factor,) * axes


def _by_ratio(site: Site, before: Pair, after: Pair) -> bool:
    """Whether rows and columns lie as their two sizes say: a given factor is taken as it is, 0.4 is not 1 / 2."""
    factors = _factors(site, len(site.map.dims))[-len(site.map.dims) :]
    if factors[0] is None or site.argument("recompute_scale_factor"):
        return True
    sizes = list(zip(before, after, strict=True))[-len(factors) :]
    return all(f is not None and abs(f * b - a) < 1e-6 for f, (b, a) in zip(factors, sizes, strict=True))


def _size_of(site: Site) -> Any:
    """The size that an interpolation is given, if it follows from the input's size."""
    size = None if site.module is not None else site.given("size")
    return size if nodes_in(size) else None


@rule(modules=[nn.PixelShuffle], functions=["pixel_shuffle"], arguments=("input", "upscale_factor"))
def pixel_shuffle(site: Site) -> Effect:
    """Channels become positions, with no border to see."""
    site.image_axes()
    r = site.argument("upscale_factor")
    return Effect(site.map, up=(r, r), change="moved back")


@rule(modules=[nn.PixelUnshuffle], functions=["pixel_unshuffle"], arguments=("input", "downscale_factor"))
def pixel_unshuffle(site: Site) -> Effect:
    """Positions become channels, with the period of a stride."""
    site.image_axes()
    r = site.argument("downscale_factor")
    return Effect(site.map, (r, r), change=FROM_FEATURES, breaks=FRAME)


@rule(functions=["_patch_merging_pad"])
def merge_patches(site: Site) -> Effect:
    """Torchvision's Swin: 2 x 2 pixels of a map (B, H, W, C) become one of 4 C channels."""
    return Effect(site.map, (2, 2), change=FROM_FEATURES, breaks=FRAME)
