"""Adaptive polyphase sampling, APS (Chaman & Dokmanić, 2021): sample the output, where MASS moves the input.

The operation runs densely, at stride 1, and of its s x s polyphase components the one of largest l2 norm is kept; a
shortcut beside it keeps the same one. As published, norms are floating-point sums and ties go to the first component,
so its equivariance is as good as its rounding and its input's asymmetry (the certificates in notebook 02 show where not).
Departures from the authors' code: any stride, not 2 alone; where branches share an index is inferred (mass.lattice)
rather than written into each architecture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import NotEquivariantError, as_pair, check_divides, check_map
from ..infer import infer
from ..layers import CircularConv2d
from ..rewrite import Rewriter
from ..shift import shift
from ..trace import as_inputs, trace


class APS(nn.Module):
    """Keep the polyphase component of largest l2 norm (paper, eq. 3).

    Args:
        stride: an int or a pair.

    Shape:
        x (B, C, H, W), H and W multiples of the stride -> (B, C, H / stride, W / stride). With `return_index` also the
        index (B, 2) int64, to be given to a parallel branch as `index`.

    >>> aps = APS(2)
    >>> x = torch.randn(1, 3, 8, 8)
    >>> y, index = aps(x, return_index=True)
    >>> torch.equal(aps(x, index=index), y)
    True
    """

    def __init__(self, stride: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.stride = as_pair(stride, "stride")

    def index(self, x: Tensor) -> Tensor:
        """The component of largest l2 norm of each image, (B, C, H, W) -> (B, 2) int64."""
        check_map(x)
        check_divides(x, self.stride)
        p, q = self.stride
        phases = x.detach().unflatten(3, (-1, q)).unflatten(2, (-1, p))  # (B, C, H / p, p, W / q, q)
        norms = torch.linalg.vector_norm(phases, dim=(1, 2, 4)).flatten(1)  # (B, p * q)
        chosen = norms.argmax(1)
        return torch.stack((chosen // q, chosen % q), 1)

    def forward(self, x: Tensor, index: Tensor | None = None, return_index: bool = False) -> Any:
        index = self.index(x) if index is None else index
        sampled = shift(x, index)[:, :, :: self.stride[0], :: self.stride[1]]
        return (sampled, index) if return_index else sampled

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class _Index(APS):
    """The index alone, as a node of a converted network."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.index(x)


class _ApsRewriter(Rewriter):
    """Runs each strided operation densely and samples its output."""

    def _align(self, node: fx.Node) -> None:
        digit = self.plan.digits[node]
        root, low = digit.find()
        if self.plan.effects[node].value is None or digit.period != root.period or low != (1, 1):
            raise NotEquivariantError(node.name, "APS samples the output of one strided operation, this is none")
        self._make_dense(node)
        following = node.next
        if root not in self.roots:
            name = f"mass_origin_{len(self.roots) + 1}"
            self.roots[root] = self._call(following, name, _Index(digit.period), (node,))
        index = self.roots[root]
        sampled = self._call(following, f"mass_aps_{node.name}", APS(digit.period), (node, index))
        node.replace_all_uses_with(sampled, delete_user_cb=lambda user: user not in (index, sampled))
        self.restored[node] = sampled
        sampled.meta["shape"] = node.meta.pop("shape")
        self.plan.values[sampled] = self.plan.values.pop(node)

    def _make_dense(self, node: fx.Node) -> None:
        module = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is None or not hasattr(module, "stride"):
            raise NotEquivariantError(node.name, "APS has no dense form of this operation")
        if isinstance(module, CircularConv2d):
            module.__dict__ = dict(module.__dict__)  # the plan's own conv keeps its stride
        module.stride = (1, 1)  # type: ignore[assignment]


def convert_to_aps(model: nn.Module, example_input: Any) -> nn.Module:
    """A copy of `model` in which every strided operation is dense and APS samples its output; borders are circular.

    Args, raises: as `mass.convert`. The result has the same `state_dict` keys and 4 times the work in each strided
    operation of stride 2.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.rand(1, 3, 8, 8)
    >>> torch.allclose(convert_to_aps(model, x)(x), convert_to_aps(model, x)(x.roll((1, 1), (2, 3))), atol=1e-6)
    True
    """
    plan = infer(trace(model, as_inputs(example_input)))
    if plan.refusals:
        raise plan.refusals[0][1]
    return _ApsRewriter(plan, "aps").run()
