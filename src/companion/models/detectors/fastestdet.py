"""FastestDet (dog-qiuqiu, 2022): a detector of 0.24 million weights, trained on COCO, whose published weights are at hand.

A ShuffleNetV2 at strides 8, 16 and 32, the three maps brought to stride 16 and joined, depthwise 5 x 5 convolutions one, two and
three deep beside each other, and one head: at each position whether there is an object, where, and which. The names of the
parts are those of the published weights. Written from their names and shapes, and from the published description of the decoding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BLOCKS = {"stage2": (24, 48, 4), "stage3": (48, 96, 8), "stage4": (96, 192, 4)}  # channels in, out, and blocks
_WIDTH = 96  # channels behind the join
CLASSES = 80


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True) -> list[nn.Module]:
    """Convolution and BatchNorm, depthwise where the kernel is wide and channels stay."""
    groups = inputs if kernel > 1 and inputs == outputs else 1
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return [*layers, nn.ReLU()] if relu else layers


class _Shuffled(nn.Module):
    """A block at stride 1: every second channel stays as it is, the others pass through the branch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch_main = nn.Sequential(
            *_conv(half, half, 1), *_conv(half, half, 3, relu=False), *_conv(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x[:, 0::2], self.branch_main(x[:, 1::2])), 1)


class _Halving(nn.Module):
    """A block at stride 2: two branches side by side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half, rest = outputs // 2, outputs - inputs
        main = [*_conv(inputs, half, 1), *_conv(half, half, 3, 2, relu=False), *_conv(half, rest, 1)]
        self.branch_main = nn.Sequential(*main)
        self.branch_proj = nn.Sequential(*_conv(inputs, inputs, 3, 2, relu=False), *_conv(inputs, inputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch_proj(x), self.branch_main(x)), 1)


class _Backbone(nn.Module):
    """(B, 3, H, W) -> maps at strides 8, 16 and 32, of 48, 96 and 192 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_conv(3, 24, 3, 2))
        for name, (inputs, outputs, blocks) in _BLOCKS.items():
            self.add_module(
                name, nn.Sequential(_Halving(inputs, outputs), *(_Shuffled(outputs) for _ in range(blocks - 1)))
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [F.max_pool2d(self.first_conv(x), 3, 2, 1)]
        for name in _BLOCKS:
            maps.append(self.get_submodule(name)(maps[-1]))
        return tuple(maps[1:])


class _Named(nn.Module):
    """A sequence under the name that the published weights have for it."""

    def __init__(self, name: str, *layers: nn.Module) -> None:
        super().__init__()
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x


class _Pyramid(nn.Module):
    """Windows of 5, 9 and 13 pixels beside each other, and a shortcut."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.Conv1x1 = _Named("conv1x1", *_conv(inputs, _WIDTH, 1))
        for depth in (1, 2, 3):
            layers = [layer for _ in range(depth) for layer in _conv(_WIDTH, _WIDTH, 5)]
            self.add_module(f"S{depth}", nn.Sequential(*layers))
        self.output = nn.Sequential(*_conv(3 * _WIDTH, _WIDTH, 1, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv1x1(x)
        seen = [self.get_submodule(f"S{depth}")(x) for depth in (1, 2, 3)]
        return F.relu(x + self.output(torch.cat(seen, 1)))


class _Head(nn.Module):
    """(B, 96, h, w) -> (B, 5 + classes, h, w): objectness in [0, 1], four numbers of a box, probabilities of the classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _Named("conv1x1", *_conv(_WIDTH, _WIDTH, 1))
        for name, outputs in (("obj", 1), ("reg", 4), ("cls", classes)):
            layers = [*_conv(_WIDTH, _WIDTH, 5), *_conv(_WIDTH, outputs, 1, relu=False)]
            self.add_module(f"{name}_layers", _Named("conv5x5", *layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1x1(x)
        objects, boxes, classes = (self.get_submodule(f"{name}_layers")(x) for name in ("obj", "reg", "cls"))
        return torch.cat((objects.sigmoid(), boxes, classes.softmax(1)), 1)


class FastestDet(nn.Module):
    """The network, its output as published: one map at stride 16.

    Shape: (B, 3, H, W), blue, green and red in [0, 1], sides multiples of 32 -> (B, 85, H / 16, W / 16): objectness; a box's
        centre against its position (tanh of it, in positions) and its height and width (sigmoid of it, in images), as
        x, y, width, height; then the probabilities of 80 classes.

    >>> FastestDet().eval()(torch.rand(1, 3, 64, 96)).shape
    torch.Size([1, 85, 4, 6])
    """

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.SPP = _Pyramid(sum(outputs for _, outputs, _ in _BLOCKS.values()))
        self.detect_head = _Head(classes)

    def forward(self, x: Tensor) -> Tensor:
        at_8, at_16, at_32 = self.backbone(x)
        joined = (F.avg_pool2d(at_8, 3, 2, 1), at_16, F.interpolate(at_32, scale_factor=2.0))
        return self.detect_head(self.SPP(torch.cat(joined, 1)))
