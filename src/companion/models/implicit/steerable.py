"""A steerable network (Weiler and Cesa, 2019): equivariant to quarter turns by construction, its filters from a fixed basis.

By `e2cnn`, its authors' library (`pip install e2cnn`; its successor escnn computes the same for the plane). A field holds four
channels, one a quarter turn, which a turn of the image turns and permutes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.models.implicit.group_pool import GroupPool

TURNS = 4


def _e2cnn() -> tuple[Any, Any]:
    try:
        import e2cnn.nn
        from e2cnn import gspaces
    except ImportError:
        raise Refusal("Steerable networks need e2cnn: pip install e2cnn==0.2.3.") from None
    warnings.filterwarnings("ignore", message="indexing with dtype torch.uint8", module="e2cnn")
    return gspaces, e2cnn.nn


class SteerableNet(nn.Module):
    """Steerable convolutions with batch normalisation and ELU, shaped as `companion.models.implicit.ien_nets.PlainNet` is.

    (B, 1, H, W) -> (B, classes).

    Args:
        widths: channels, multiples of 4.

    Attributes:
        layers: the names of its activations.
        groups: of channels: the four of a field.
        in_channels: of images.
    """

    def __init__(
        self,
        widths: Sequence[int],
        kernels: Sequence[int],
        padding: Sequence[int],
        halved: Sequence[int],
        channels: int = 1,
        classes: int = 10,
    ) -> None:
        super().__init__()
        gspaces, steerable = _e2cnn()
        space = gspaces.Rot2dOnR2(TURNS)
        self.images = inputs = steerable.FieldType(space, channels * [space.trivial_repr])
        features, self.layers, self.in_channels = [], [], channels
        for number, (width, kernel, pad) in enumerate(zip(widths, kernels, padding, strict=True), start=1):
            outputs = steerable.FieldType(space, width // TURNS * [space.regular_repr])
            features += [
                steerable.R2Conv(inputs, outputs, kernel, padding=pad, bias=False),
                steerable.InnerBatchNorm(outputs),
                steerable.ELU(outputs),
            ]
            self.layers.append(f"features.{len(features) - 1}")
            if number in halved:
                features.append(steerable.PointwiseMaxPool(outputs, 2, 2))
            inputs = outputs
        self._tensor = steerable.GeometricTensor
        self.features = steerable.SequentialModule(*features)
        self.groups, self.pool, pooled = "r4", GroupPool("r4"), widths[-1] // TURNS
        self.average = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(
            nn.Linear(pooled, pooled), nn.BatchNorm1d(pooled), nn.ELU(), nn.Linear(pooled, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(self._tensor(x, self.images)).tensor
        return self.head(self.average(self.pool(maps)).flatten(1))

    def export(self) -> nn.Module:
        """The same as plain convolutions, whose filters no longer depend on a basis: what inference needs."""
        return nn.Sequential(self.eval().features.export(), self.pool, self.average, nn.Flatten(), self.head)
