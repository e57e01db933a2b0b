"""What APS and LPS share: networks in which strided operations run densely, and their output is sampled.

Where branches must keep the same component is inferred (mass.fx.lattice), rather than written into each architecture; the
first operation of a group, in the order in which the network computes, decides for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn

from mass.axes import Pair
from mass.errors import NotEquivariantError, check_map
from mass.fx.infer import infer
from mass.fx.network.converted import Converted
from mass.fx.rewrite import Rewriter
from mass.fx.tracing.example import as_example
from mass.fx.tracing.plain import require_plain
from mass.fx.tracing.trace import trace
from mass.fx.verification.verify_trace import verify_trace


class PolyphaseRewriter(Rewriter):
    """Runs each strided operation densely and samples its output.

    Attributes (set by subclasses):
        choose: (stride, channels) -> a module that reads the choice off the dense output.
        sample: stride -> a module (dense output, choice) -> the component.
        name: of the method, for sentences and nodes.
    """

    choose: Callable[[Pair, int], nn.Module]
    sample: Callable[[Pair], nn.Module]
    name: str

    def _align(self, node: fx.Node) -> None:
        digit = self.plan.digits[node]
        root, low = digit.find()
        if self.plan.effects[node].value is None or digit.period != root.period or low != (1, 1):
            reason = f"{self.name.upper()} samples the output of one strided operation, this is none"
            raise NotEquivariantError(node.name, reason)
        self._make_dense(node)
        following = node.next
        if root not in self.roots:
            name = f"mass_origin_{len(self.roots) + 1}"
            chooser = self.choose(digit.period, node.meta["shape"][1])
            self.roots[root] = self._call(following, name, chooser, (node,))
        index = self.roots[root]
        sampled = self._call(following, f"mass_{self.name}_{node.name}", self.sample(digit.period), (node, index))
        node.replace_all_uses_with(sampled, delete_user_cb=lambda user: user not in (index, sampled))
        self.restored[node] = sampled
        sampled.meta["shape"] = node.meta.pop("shape")
        self.plan.values[sampled] = self.plan.values.pop(node)

    def _make_dense(self, node: fx.Node) -> None:
        module = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is None or not hasattr(module, "stride"):
            raise NotEquivariantError(node.name, f"{self.name.upper()} has no dense form of this operation")
        module.stride = 1 if isinstance(module.stride, int) else (1, 1)  # type: ignore[assignment]


def rewrite(model: nn.Module, example_input: Any, rewriter: type[PolyphaseRewriter]) -> Converted:
    """A copy of `model` rewritten; borders circular."""
    require_plain(model)
    example = as_example(example_input)
    check_map(example.values[0])  # signals and videos are for MASS alone
    traced = trace(model, example)
    verify_trace(model, traced, example)
    plan = infer(traced)
    if plan.refusals:
        raise plan.refusals[0][1]
    converted = rewriter(plan, rewriter.name).run()
    for name, part in converted.named_children():
        if name.startswith("mass_origin_"):  # what chooses is new, and lies where the images do
            part.to(example.values[0])
    converted.mass_stand_for(model, example.values[0], example.positional(model))
    converted.mass_become(type(model))
    return converted
