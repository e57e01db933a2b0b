"""Adaptive polyphase sampling, APS (Chaman & Dokmanić, 2021): sample the output, where MASS moves the input.

The operation runs densely, at stride 1, and of its s x s polyphase components the one of largest l2 norm is kept; a
shortcut beside it keeps the same one. As published, norms are floating-point sums and ties go to the first component,
so its equivariance is as good as its rounding and its input's asymmetry (the certificates in notebook 02 show where
not).

What is read for the choice, and sampled, is the strided operation's own output. Its authors' ResNets sample behind the
ReLU; so does a converted network that samples there, by a `BlurPool`, of size 1 for no blur (companion.models.cifar_resnets).
With a blur the choice is read off the blurred map, as in its authors' ImageNet code; their CIFAR-10 code reads it off
the map before the blur, and LPS's authors offer both.
Departures from the authors' code: any stride, not 2 alone, and any size that it divides (theirs wraps odd sizes by one
more row or column, and for ImageNet takes squares); where branches share an index is inferred; norms of half-precision
maps are float32 numbers, as autocast on a GPU makes theirs; of components that tie the first is kept row by row, theirs
column by column ((0, 0), (1, 0), (0, 1), (1, 1)).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Pair
from mass.baselines.polyphase import PolyphaseRewriter, rewrite
from mass.errors import as_pair
from mass.functional.polyphase import first_phase, to_blocks
from mass.functional.shift import shift
from mass.nn.graph.alignment import ChoosesOrigin


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
        dtype = torch.promote_types(x.dtype, torch.float32)  # eight bits of a bfloat16 norm would tie most phases
        norms = torch.linalg.vector_norm(to_blocks(x.detach(), self.stride), dim=(1, 2, 4), dtype=dtype).flatten(1)
        chosen = norms.argmax(1)
        return torch.stack((chosen // self.stride[1], chosen % self.stride[1]), 1)

    def forward(self, x: Tensor, index: Tensor | None = None, return_index: bool = False) -> Any:
        index = self.index(x) if index is None else index
        sampled = first_phase(shift(x, index), self.stride)
        return (sampled, index) if return_index else sampled

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class _Index(APS, ChoosesOrigin):
    """The index alone, as a node of a converted network."""

    def read(self, x: Tensor) -> tuple[Tensor, Pair]:
        return x, self.stride

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.index(x)


class _ApsRewriter(PolyphaseRewriter):
    name = "aps"

    def choose(self, stride: Pair, channels: int) -> nn.Module:
        return _Index(stride)

    def sample(self, stride: Pair) -> nn.Module:
        return APS(stride)


def convert_to_aps(model: nn.Module, example_input: Any) -> nn.Module:
    """A copy of `model` in which every strided operation is dense and APS samples its output; borders are circular.

    model, example_input and what is raised: as of `mass.convert`; images alone. The result has the same `state_dict` keys and 4 times the work in each strided
    operation of stride 2.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.rand(1, 3, 8, 8)
    >>> torch.allclose(convert_to_aps(model, x)(x), convert_to_aps(model, x)(x.roll((1, 1), (2, 3))), atol=1e-6)
    True
    """
    return rewrite(model, example_input, _ApsRewriter)
