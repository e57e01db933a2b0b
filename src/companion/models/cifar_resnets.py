"""ResNets for small images (He et al., 2016, section 4.2), as APS, LPS and MASS train them on CIFAR-10.

A 3 x 3 stem, stages of basic blocks, projection shortcuts, global average. ResNet-20 has widths 16, 32, 64 and three
blocks a stage, 272,474 parameters; ResNet-18 widths 64 to 512 and two, 11,173,962. All borders are zero-padded here:
`mass.convert` and the baselines make them wrap (companion.models.methods).

Where an anti-aliasing filter stands, `place` says:

* 'after': the strided convolution becomes dense and its ReLU is filtered and sampled; on the shortcut the filter
  precedes the 1 x 1 convolution. So do BlurPool, DDAC and APS in their authors' ResNets.
* 'before': the block's input is filtered once, densely, and both branches keep their strided convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion.models.antialias import FILTERS
from companion.models.loading import load_into


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def _pad_channels(inputs: int, outputs: int) -> nn.Conv2d:
    """The shortcut without parameters (option A): every second position, and channels of zeros on both sides."""
    conv = _conv(inputs, outputs, 1, 2)
    del conv.weight
    weight = torch.zeros(outputs, inputs, 1, 1)
    weight[(outputs - inputs) // 2 :][:inputs] = torch.eye(inputs)[:, :, None, None]
    conv.register_buffer("weight", weight, persistent=False)
    return conv


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: (B, C, H, W) -> (B, C', H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, filtering: str | None, place: str, option: str) -> None:
        super().__init__()
        antialias = FILTERS[filtering] if filtering and stride > 1 else None
        after = antialias if place == "after" else None
        self.before = antialias(inputs, stride=1) if antialias and not after else nn.Identity()
        self.conv1 = _conv(inputs, outputs, 3, 1 if after else stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.after = after(outputs, stride=stride) if after else nn.Identity()
        self.conv2 = _conv(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut_after: nn.Module = nn.Identity()
        if inputs == outputs and stride == 1:
            self.shortcut: nn.Module = nn.Identity()
        elif option == "A":
            self.shortcut = _pad_channels(inputs, outputs)
        else:
            if after:
                self.shortcut_after = after(inputs, stride=stride)
            self.shortcut = nn.Sequential(_conv(inputs, outputs, 1, 1 if after else stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        out = self.after(F.relu(self.bn1(self.conv1(x))))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(self.shortcut_after(x)))


class SmallResNet(nn.Module):
    """A ResNet whose stages, from the second on, halve the map, its stem's stride before: (B, channels, H, W) -> (B, classes)."""

    def __init__(
        self,
        widths: Sequence[int],
        blocks: int,
        *,
        channels: int = 3,
        classes: int = 10,
        filtering: str | None = None,
        place: str = "after",
        option: str = "B",
        stem: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = _conv(channels, widths[0], stride=stem)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for number, outputs in enumerate(widths, start=1):
            stage = nn.Sequential()
            for block in range(blocks):
                stride = 2 if number > 1 and block == 0 else 1
                stage.append(BasicBlock(inputs, outputs, stride, filtering, place, option))
                inputs = outputs
            self.add_module(f"layer{number}", stage)
        self.stages = len(widths)
        self.linear = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and isinstance(module.weight, nn.Parameter):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _net(widths: Sequence[int], blocks: int, **options: Any) -> Callable[..., SmallResNet]:
    """A maker of such networks: (filtering, place, weights to start from or None)."""

    def make(
        filtering: str | None = None, place: str = "after", weights: dict[str, Tensor] | None = None
    ) -> SmallResNet:
        model = SmallResNet(widths, blocks, filtering=filtering, place=place, **options)
        if weights is not None:
            load_into(model, weights, f"a ResNet of widths {', '.join(map(str, widths))}")
        return model

    return make


CIFAR_NETS = {
    "resnet20": _net((16, 32, 64), 3),
    "resnet18": _net((64, 128, 256, 512), 2),
    "resnet20a": _net((16, 32, 64), 3, option="A"),  # of which trained weights are published
    "digits": _net((8, 16), 1, channels=1),  # for the quick profile: 8 x 8 images
    "periodic": _net((8, 16, 32), 1, channels=1, classes=2, stem=2),  # total stride 8, for 64 x 64 grey images
    "periodic-pairs": _net((8, 16, 32), 1, channels=2, classes=2, stem=2),
}
