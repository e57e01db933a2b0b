"""Other sizes: whether a conversion holds for them, or for the example's size alone.

What a model computes from the size of its input may have been frozen at the example's: a pooling into as many cells as its map had
positions, a window computed from `x.shape`, a crop or a number of copies that fitted. So a network with an operation that is not known
to be the same at all sizes is asked once more: at twice the height, at twice the width, at both, and of videos at twice the frames.
Where it is not the model there, it takes inputs of the example's size alone (`Converted.mass_only_size`).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx, nn

from mass.errors import NotEquivariantError
from mass.fx.network.converted import Converted
from mass.fx.nodes import cut_along, module_of, name_of
from mass.fx.rule import operation_of_module
from mass.fx.tracing.example import Example, Inputs
from mass.fx.verification.probes import Probes
from mass.fx.verification.verify import Gate
from mass.fx.verification.verify_trace import require_trace, runs
from mass.marks import marked_period
from mass.structure import leaves

# Functions and methods that compute the same whatever the size; what is not among them is asked.
_OF_ANY_SIZE = {
    "abs", "add", "amax", "amin", "clamp", "clip", "div", "exp", "log", "max", "maximum", "mean", "min", "minimum",
    "mul", "neg", "norm", "pow", "rsqrt", "rsub", "sqrt", "sub", "sum", "truediv", "var", "where", "celu", "elu",
    "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid", "mish",
    "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "tanh", "batch_norm", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "group_norm", "instance_norm",
    "layer_norm", "linear", "normalize", "pixel_shuffle", "pixel_unshuffle", "bmm", "cat", "clone", "concatenate",
    "contiguous", "detach", "dropout", "dropout1d", "dropout2d", "dropout3d", "expand_as", "flatten", "float",
    "half", "masked_fill", "matmul", "pad", "permute", "squeeze", "stack", "stochastic_depth", "to", "transpose",
    "type_as", "unsqueeze",
}  # fmt: skip


def only_at_this_size(model: nn.Module, traced: Converted, gate: Gate, example: Example, moves: bool) -> str:
    """Why a network that was verified at the example's size is none for larger ones; '' where it is, or nobody could ask.

    Args:
        gate: the one that it passed; moves: whether its outputs were to move with the image.
    """
    if all(_is_of_any_size(node) for node in traced.graph.nodes):
        return ""
    for inputs, where in _larger(model, example):
        try:
            require_trace(model, traced, example, inputs, where)
            gate.check_larger(inputs, where, moves)
        except NotEquivariantError as difference:
            return difference.reason
    return ""


def _larger(model: nn.Module, example: Example) -> Iterator[tuple[Inputs, str]]:
    """Noise of larger sizes, and in words of which: one image, where the model takes one, for it is asked often."""
    probes = Probes(example.values)
    alone = probes.of_batch(1)
    if alone is not None and runs(model, example, alone):
        probes = Probes(alone)
    if len(probes.dims) > 1:
        yield probes.enlarged((2, 1)), "at twice the example's height"
        yield probes.enlarged((1, 2)), "at twice the example's width"
    yield probes.enlarged((2, 2)), "at twice the example's size"
    if probes.inputs[0].ndim == 5:
        yield probes.enlarged((1, 1), frames=2), "at twice the example's frames"


def _is_of_any_size(node: fx.Node) -> bool:
    """Whether a node gives no numbers, and is known to compute the same whatever the size of its input."""
    if node.op in ("placeholder", "get_attr", "output") or str(node.target).startswith("mass_"):
        return True
    if any(isinstance(value, int | float) for _, value in leaves(node.meta.get("value"))):
        return False
    module, given = module_of(node), dict(node.kwargs)
    name = name_of(node) if module is None else type(module).__name__.lower()
    if module is not None:
        given = {key: getattr(module, key) for key in ("size", "ceil_mode") if hasattr(module, key)}
    if name.startswith("adaptive"):
        asked = module.output_size if module is not None else (*node.args[1:], *node.kwargs.values())
        kept = any(size is None for _, size in leaves(asked))  # as many positions as the map has, one in the example
        return not kept and set(node.meta["shape"][2:]) == {1}
    if "pool" in name:  # a window that is larger than its map is cut to it
        return _is_smaller_than_its_map(node, module) or (not given.get("ceil_mode") and len(node.args) < 5)
    if module is not None:
        known = operation_of_module(module) is not None or marked_period(module) is not None
        return known and given.get("size") is None
    if name == "getitem":
        return not isinstance(node.meta.get("shape"), tuple) or isinstance(node.args[1], int)
    if name in ("chunk", "split", "unbind"):
        return cut_along(node) == 1
    if name == "interpolate":
        return len(node.args) < 2 and given.get("size") is None
    return name in _OF_ANY_SIZE


def _is_smaller_than_its_map(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a pooling has a window that its map is larger than, and so all larger maps are."""
    window = getattr(module, "kernel_size", None)
    sizes = node.all_input_nodes[0].meta["shape"][2:]
    return window is not None and max(window if isinstance(window, tuple) else (window,)) < min(sizes, default=0)
