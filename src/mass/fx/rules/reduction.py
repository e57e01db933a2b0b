"""Rules of reductions: over positions they add exactly, or do not add; over channels every position adds alike."""

from __future__ import annotations

from mass.fx.lattice import Grid
from mass.fx.nodes import name_of
from mass.fx.rule import Effect, Site, across_images, rule
from mass.nn.exact import ExactMean, ExactSum

_REDUCTION = ("input", "dim", "keepdim")


@rule(functions=["amax", "amin"], arguments=_REDUCTION)
def extreme(site: Site) -> Effect:
    """Maxima and minima do not round."""
    return Effect(_reduced(site, _axes(site)))


@rule(functions=["mean"], arguments=_REDUCTION, becomes=ExactMean)
@rule(functions=["sum"], arguments=_REDUCTION, becomes=ExactSum)
def mean(site: Site) -> Effect:
    dims = _axes(site)
    value = _reduced(site, dims)
    swap = site.becomes(dims, bool(site.argument("keepdim", False)), site.node.kwargs.get("dtype"))
    change = f"exact {name_of(site.node)}" if value is None else ""
    return Effect(value, swap=swap, inputs=(site.input,), change=change)


def _axes(site: Site) -> tuple[int, ...]:
    dim, rank = site.argument("dim"), len(site.shape)
    return tuple(range(rank)) if dim is None else tuple(d % rank for d in ((dim,) if isinstance(dim, int) else dim))


def _reduced(site: Site, dims: tuple[int, ...]) -> Grid | None:
    """What is left of a map: nothing of its positions, or all of them."""
    spatial = set(site.map.dims) & set(dims)
    if 0 < len(spatial) < len(site.map.dims):
        raise site.refuse("a reduction over rows or columns alone leaves a map of the other axis")
    if not spatial and site.map.batch in dims:
        raise across_images(site)
    return None if spatial else site.map.without(() if site.argument("keepdim", False) else dims)
