"""Rules of normalisations."""

from __future__ import annotations

from torch import nn

from mass.fx.rule import Effect, Site, recast
from mass.fx.rules.shape import as_shape
from mass.nn.exact import ExactGroupNorm, ExactInstanceNorm1d, ExactInstanceNorm2d, ExactInstanceNorm3d


def _group_norm(site: Site) -> Effect:
    if site.module is None:
        raise site.refuse("functional normalisation over positions", "use torch.nn.GroupNorm or InstanceNorm2d")
    site.image_axes(None)
    exact = EXACT_NORMS[type(site.module)]
    return Effect(site.map, swap=recast(site.module, exact), inputs=(site.input,), change="exact statistics")


def _batch_norm(site: Site) -> Effect:
    if 1 in site.map.dims:
        raise site.refuse("batch normalisation takes positions for channels")
    return Effect(site.map)


def _layer_norm(site: Site) -> Effect:
    axes = len(as_shape(site.argument(1, "normalized_shape")))
    if max(site.map.dims) >= len(site.shape) - axes:
        raise site.refuse("layer normalisation over positions, with a weight for each", "normalise the channels alone")
    return Effect(site.map)


EXACT_NORMS = {
    nn.GroupNorm: ExactGroupNorm, nn.InstanceNorm1d: ExactInstanceNorm1d,
    nn.InstanceNorm2d: ExactInstanceNorm2d, nn.InstanceNorm3d: ExactInstanceNorm3d,
}  # fmt: skip
