"""Whether a rewritten network still fits together: with borders that wrap, maps have other sizes, and windows other places."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from mass.errors import NotEquivariantError
from mass.fx.network.converted import Converted
from mass.fx.nodes import place_of, returned
from mass.fx.tracing.example import Inputs
from mass.fx.verification.recording import Recorder
from mass.nn.evaluating import evaluating

PAD = "pad the convolutions before it, or pool globally"


class NoLongerFits(NotEquivariantError):
    """A layer behind operations whose maps have another size now that their borders wrap."""


def check_runs(converted: Converted, inputs: Inputs) -> None:
    """Run the rewritten graph once: do all operations still fit together?

    Raises:
        NoLongerFits: naming the operation that no longer fits. With borders that wrap, 'valid' convolutions
            keep a map's size, so a layer behind them that counts positions meets more of them.
    """
    recorder = Recorder(converted)
    try:
        with evaluating(converted):
            recorder.run(*inputs)
    except (RuntimeError, ValueError) as error:
        failed = next(n for n in converted.graph.nodes if n.name not in recorder.kept)
        first = str(error).splitlines()[0].rstrip(".")
        reason = f"it no longer fits when borders wrap and every stride s gives H / s outputs ({first})"
        raise NoLongerFits(failed.name, reason, PAD) from error
    for node in converted.graph.nodes:
        if spans := _spans_its_map(node, recorder.kept):
            reason = f"its window spans its map along axes {spans}, and with borders that wrap it would fit at every position"
            raise NoLongerFits(place_of(node), reason, PAD)
    for node in returned(converted.graph):
        y, shape = recorder.kept.get(node.name), node.meta.get("shape")
        if not isinstance(y, Tensor) or not shape or tuple(y.shape) == shape:
            continue
        if 0 in y.shape and 0 not in shape:
            reason = (
                f"nothing is left of it, {tuple(y.shape)}, when borders wrap and every stride s gives H / s outputs"
            )
            raise NoLongerFits(place_of(node), reason, PAD)
        positions = node.meta.get("positions")
        if positions is None or all(shape[axis] == 1 for axis in positions.dims):
            reason = f"the model returns {shape}, and with borders that wrap, where every stride s gives H / s outputs, it would be {tuple(y.shape)}"
            raise NoLongerFits(place_of(node), reason, PAD)


def _spans_its_map(node: fx.Node, kept: dict[str, Any]) -> tuple[int, ...]:
    """Axes along which a window leaves the model one position, where its stride would leave more."""
    y, shape, positions = kept.get(node.name), node.meta.get("shape"), node.meta.get("positions")
    if positions is None or not isinstance(y, Tensor) or not isinstance(shape, tuple) or len(shape) != y.ndim:
        return ()
    source = node.all_input_nodes[0] if node.all_input_nodes else node
    while "shape" not in source.meta and source.all_input_nodes:  # moved to an origin
        source = source.all_input_nodes[0]
    x, before = kept.get(source.name), source.meta.get("shape")
    if not isinstance(x, Tensor) or not isinstance(before, tuple) or len(before) != y.ndim or x.ndim != y.ndim:
        return ()
    return tuple(
        axis for axis in positions.dims
        if shape[axis] == 1 < y.shape[axis] and before[axis] * y.shape[axis] // x.shape[axis] > 1
    )  # fmt: skip
