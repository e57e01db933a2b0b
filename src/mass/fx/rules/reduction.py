"""Rules of reductions over positions or channels."""

from __future__ import annotations

from mass.fx.rule import Effect, Site, name_of
from mass.fx.rules.shape import drop_axes
from mass.nn.exact import ExactMean, ExactSum


def _mean(site: Site) -> Effect:
    dim, keepdim = site.argument(1, "dim"), bool(site.argument(2, "keepdim", False))
    rank, name = len(site.shape), name_of(site.node)
    dims = tuple(range(rank)) if dim is None else tuple(d % rank for d in ((dim,) if isinstance(dim, int) else dim))
    spatial = set(site.map.dims) & set(dims)
    if 0 < len(spatial) < len(site.map.dims):
        raise site.refuse("a reduction over rows or columns alone leaves a map of the other axis")
    value = None if spatial else drop_axes(site, () if keepdim else dims)
    if name in ("amax", "amin"):
        return Effect(value)
    if name not in ("mean", "sum") or site.map.batch in dims or "dtype" in site.node.kwargs:
        raise site.refuse(
            f"'{name}' over axes {dims} adds in an order that depends on the position", "use a plain mean"
        )
    swap = ExactMean(dims, keepdim) if name == "mean" else ExactSum(dims, keepdim)
    return Effect(value, swap=swap, inputs=(site.input,), change=f"exact {name}" if spatial else "")
