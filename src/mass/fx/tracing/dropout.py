"""Functional dropout, which a trace freezes as it was when the model was traced."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import fx, nn

_DROPOUTS: dict[Any, Any] = {
    F.dropout: nn.Dropout, F.dropout1d: nn.Dropout1d, F.dropout2d: nn.Dropout2d, F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout, F.feature_alpha_dropout: nn.FeatureAlphaDropout,
}  # fmt: skip


def follow_training(original: nn.Module, evaluating: fx.GraphModule, training: fx.GraphModule) -> None:
    """Functional dropout froze `training` as it was when traced: where the two traces differ in it, make it a module.

    It is put into the module of `original`, whose modules the graph will have, that called it: `encoder.eval()` stops that part's
    alone. Dropout that is always on, or never, is the same in both and stays.
    """
    for ours, theirs in zip(evaluating.graph.nodes, training.graph.nodes, strict=False):
        if ours.target not in _DROPOUTS or theirs.target is not ours.target or _drops(ours) == _drops(theirs):
            continue
        dropout = _DROPOUTS[ours.target](_given(ours, 1, "p", 0.5), bool(_given(ours, 3, "inplace", False)))
        place = _caller(ours)
        name = f"{place}.mass_{ours.name}" if place else f"mass_{ours.name}"
        if place:
            original.get_submodule(place).add_module(f"mass_{ours.name}", dropout)
        for module, node in ((evaluating, ours), (training, theirs)):
            module.add_submodule(name, dropout)
            source = _given(node, 0, "input", None)
            node.op, node.target, node.args, node.kwargs = "call_module", name, (source,), {}


def _caller(node: fx.Node) -> str:
    """The path of the module in whose forward a function was called; '' for the model's own."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return stack[-1][0] if stack else ""


def _drops(node: fx.Node) -> bool:
    return bool(_given(node, 2, "training", True))


def _given(node: fx.Node, position: int, name: str, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
