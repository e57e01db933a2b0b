"""Learnable polyphase sampling, LPS (Rojas-Gomez et al., 2022): a small network scores each polyphase component.

Each component of a dense output gets a score: convolution 3 x 3, ReLU, convolution 3 x 3, both circular and as wide as
the map, and the mean over all channels and positions. In training the components are mixed by a Gumbel-softmax over
their scores, soft, not one-hot; in evaluation the best one is kept, as APS keeps the one of largest norm. A shortcut
beside it uses the same weights, in training the very sample. Scores are floating-point means and ties go to the first
component, so its equivariance is as good as its rounding. What is sampled is the strided operation's own output, as in
`mass.baselines.aps`.
Departures from the authors' code: any stride, not 2 alone, any size that it divides (theirs pads odd sizes with zeros);
where branches share a choice is inferred; scores are float32, of float64 maps too; the temperature stays as it is set.
Theirs starts at 1 and takes a schedule (in one of their configurations for ImageNet it falls in straight pieces, to 0.5 at
epoch 62, 0.05 at 82 and 0.01 at 90), and their optimiser spares the scoring networks its weight decay: both are left to the
training loop.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mass.axes import Pair
from mass.baselines.polyphase import PolyphaseRewriter, rewrite
from mass.errors import NotEquivariantError, as_pair, check_counts, check_divides, check_map
from mass.functional.polyphase import first_phase, to_phases
from mass.functional.shift import shift
from mass.fx.network.converted import Converted
from mass.nn.conv import CircularConv2d
from mass.nn.graph.alignment import ChoosesOrigin


class PolyphaseScores(ChoosesOrigin):
    """Weights of the polyphase components, (B, C, H, W) -> (B, s * s): soft in training, one-hot in evaluation (LPS, Rojas-Gomez et
    al., 2022).

    >>> PolyphaseScores(4).eval()(torch.rand(2, 4, 8, 8)).sum(1)
    tensor([1., 1.])

    Args:
        channels: of the map.
        stride: an int or a pair.
        temperature: of the Gumbel-softmax.
    """

    def __init__(
        self,
        channels: int,
        stride: int | tuple[int, int] = 2,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_counts(channels=channels)
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature!r}.")
        self.stride, self.temperature = as_pair(stride, "stride"), temperature
        self.conv1 = CircularConv2d(channels, channels, 3, padding=1)
        self.conv2 = CircularConv2d(channels, channels, 3, padding=1)

    def scores(self, x: Tensor) -> Tensor:
        """The mean response of the scoring network to each component, (B, s * s)."""
        phases = to_phases(x, self.stride)
        responses = self.conv2(F.relu(self.conv1(phases.flatten(0, 1))))
        exact = responses.to(torch.promote_types(responses.dtype, torch.float32))
        return exact.mean((1, 2, 3)).view(phases.shape[:2])

    def read(self, x: Tensor) -> tuple[Tensor, Pair]:
        return x, self.stride

    def chosen(self, output: Tensor) -> Tensor:
        """The component of the largest weight."""
        place = output.argmax(1)
        return torch.stack((place // self.stride[1], place % self.stride[1]), 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.scores(x)
        if self.training:
            return F.gumbel_softmax(scores, self.temperature)
        return F.one_hot(scores.argmax(1), scores.shape[1]).to(scores.dtype)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, temperature={self.temperature}"


class LPS(nn.Module):
    """Mix the polyphase components by their weights (training) or keep the best (evaluation).

    Args:
        stride: an int or a pair.

    Shape:
        x (B, C, H, W), H and W multiples of the stride; weights (B, s * s) of `PolyphaseScores`
        -> (B, C, H / stride, W / stride).

    >>> x = torch.randn(2, 3, 8, 8)
    >>> scores, lps = PolyphaseScores(3), LPS(2).eval()
    >>> lps(x, scores.eval()(x)).shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(self, stride: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.stride = as_pair(stride, "stride")

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        check_map(x)
        check_divides(x, self.stride)
        p, q = self.stride
        if weights.shape != (x.shape[0], p * q):
            raise ValueError(
                f"weights must have shape ({x.shape[0]}, {p * q}), one for each component of each image, "
                f"got {tuple(weights.shape)}."
            )
        if self.training:
            mixed = torch.zeros((), dtype=x.dtype, device=x.device)
            for n, weight in enumerate(weights.to(x.dtype).unbind(1)):
                i, j = divmod(n, q)
                mixed = mixed + x[:, :, i::p, j::q] * weight[:, None, None, None]
            return mixed
        chosen = weights.argmax(1)
        return first_phase(shift(x, torch.stack((chosen // q, chosen % q), 1)), self.stride)

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class _LpsRewriter(PolyphaseRewriter):
    name = "lps"

    def choose(self, stride: Pair, channels: int) -> nn.Module:
        return PolyphaseScores(channels, stride)

    def sample(self, stride: Pair) -> nn.Module:
        return LPS(stride)

    def run(self) -> Converted:
        module = super().run()
        for weights in self.roots.values():
            for user in weights.users:
                if not isinstance(module.get_submodule(str(user.target)), LPS):
                    reason = "it goes back up by an origin, and LPS mixes the components of all of them"
                    raise NotEquivariantError(user.name, reason, "use APS, or mass.convert")
        return module


def convert_to_lps(model: nn.Module, example_input: Any) -> nn.Module:
    """A copy of `model` in which every strided operation is dense and LPS samples its output; borders are circular.

    model, example_input and what is raised: as of `mass.convert`; images alone (LPS, Rojas-Gomez et al., NeurIPS 2022).
    The scoring networks are new parameters, `mass_origin_….conv1` and `.conv2`, that
    have to be trained; the other `state_dict` keys are the original's.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.rand(1, 3, 8, 8)
    >>> lps = convert_to_lps(model, x).eval()
    >>> torch.allclose(lps(x), lps(x.roll((1, 1), (2, 3))), atol=1e-6)
    True
    """
    return rewrite(model, example_input, _LpsRewriter)
