"""Rules of normalisations: statistics over positions are exact, those over channels are computed alike at each position."""

from __future__ import annotations

from torch import nn

from mass.fx.rule import Effect, Recast, Site, rule
from mass.nn.exact import (
    ExactBatchNorm1d,
    ExactBatchNorm2d,
    ExactBatchNorm3d,
    ExactGroupNorm,
    ExactInstanceNorm1d,
    ExactInstanceNorm2d,
    ExactInstanceNorm3d,
)

_STATISTICS = ("running_mean", "running_var", "weight", "bias")


@rule(modules=[nn.BatchNorm1d], becomes=ExactBatchNorm1d)
@rule(modules=[nn.BatchNorm3d], becomes=ExactBatchNorm3d)
def batch_norm_of_rows(site: Site) -> Effect:
    """What takes two axes as well as three, or four as well as five: channels are axis 1."""
    return batch_norm(site)


@rule(modules=[nn.BatchNorm2d], becomes=ExactBatchNorm2d)
@rule(modules=[nn.SyncBatchNorm], functions=["batch_norm"], arguments=("input", *_STATISTICS), weights=_STATISTICS)
def batch_norm(site: Site) -> Effect:
    """With running statistics nothing is reduced in evaluation; without, the statistics of the batch are."""
    if 1 in site.map.dims:
        raise site.refuse("batch normalisation takes positions for channels")
    if site.argument("running_mean") is not None:
        return Effect(site.map)
    if site.operation is None or site.operation.becomes is None:
        raise site.refuse("normalisation by a batch's statistics", f"use torch.nn.BatchNorm2d instead of {site.kind}")
    return Effect(site.map, swap=Recast(site.becomes), inputs=(site.input,), change="exact statistics")


@rule(modules=[nn.GroupNorm], becomes=ExactGroupNorm)
@rule(modules=[nn.InstanceNorm1d], becomes=ExactInstanceNorm1d)
@rule(modules=[nn.InstanceNorm2d], becomes=ExactInstanceNorm2d)
@rule(modules=[nn.InstanceNorm3d], becomes=ExactInstanceNorm3d)
def group_norm(site: Site) -> Effect:
    site.image_axes(None)
    return Effect(site.map, swap=Recast(site.becomes), inputs=(site.input,), change="exact statistics")


@rule(functions=["group_norm"], arguments=("input", "num_groups", "weight", "bias"), weights=("weight", "bias"))
@rule(functions=["instance_norm"], arguments=("input", *_STATISTICS))
def functional_group_norm(site: Site) -> Effect:
    raise site.refuse("functional normalisation over positions", "use torch.nn.GroupNorm or InstanceNorm2d")


@rule(
    modules=[nn.LayerNorm],
    functions=["layer_norm"],
    arguments=("input", "normalized_shape", "weight", "bias"),
    weights=("weight", "bias"),
)
def layer_norm(site: Site) -> Effect:
    shape = site.argument("normalized_shape")
    axes = 1 if isinstance(shape, int) else len(shape)
    if max(site.map.dims) >= len(site.shape) - axes:
        raise site.refuse("layer normalisation over positions, with a weight for each", "normalise the channels alone")
    return Effect(site.map)
