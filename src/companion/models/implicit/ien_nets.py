"""The networks of implicit equivariance (Khetan et al., 2021), as its authors publish them: MNIST's, VGG, a wide ResNet-18; and narrow ones.

All are plain: what is special is that groups of their channels are pooled ahead of the head (`GroupPool`), and that `layers`
names those whose pooled maps are to move along. They need not, unless they are trained to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from companion.models.implicit.group_pool import GroupPool
from companion.models.implicit.steerable import SteerableNet
from companion.models.loading import load_into


def _start(model: nn.Module) -> None:
    """Xavier's uniform weights and biases of 0.01, as published for MNIST's network."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.constant_(module.bias, 0.01)


class PlainNet(nn.Module):
    """Convolutions with batch normalisation and ELU, maximum pooling behind some, groups pooled, an average and a small head.

    (B, channels, H, W) -> (B, classes). With `widths` 128, 192, 256, 256, 384, 512 and the kernels as they stand, the network
    published for rotated MNIST (28 x 28).

    Attributes:
        layers: the names of its activations, which the loss reads.
        groups: of channels, a key of `companion.models.implicit.group_pool.GROUPS`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        groups: str,
        *,
        kernels: Sequence[int] = (7, 5, 5, 5, 5, 5),
        padding: Sequence[int] = (1, 2, 2, 2, 2, 0),
        halved: Sequence[int] = (2, 4),
        window: int = 2,
        channels: int = 1,
        hidden: int = 0,
        dropout: float = 0.0,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.features, self.layers, inputs = nn.Sequential(), [], channels
        for number, (outputs, kernel, pad) in enumerate(zip(widths, kernels, padding, strict=True), start=1):
            self.features.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, kernel, padding=pad, bias=False))
            self.features.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
            self.features.add_module(f"elu{number}", nn.ELU())
            self.layers.append(f"features.elu{number}")
            if number in halved:
                self.features.add_module(f"halve{number}", nn.MaxPool2d(window, 2, (window - 1) // 2))
            inputs = outputs
        self.groups, self.pool = groups, GroupPool(groups)
        self.average = nn.AdaptiveAvgPool2d(1)
        pooled = self.pool.pooled(inputs)
        hidden = hidden or pooled
        self.head = nn.Sequential(nn.Linear(pooled, hidden), nn.BatchNorm1d(hidden), nn.ELU())
        if dropout:
            self.head.append(nn.Dropout(dropout))
        self.head.append(nn.Linear(hidden, classes))
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.average(self.pool(self.features(x))).flatten(1))


class WideBlock(nn.Module):
    """Normalisation and ReLU ahead of two 3 x 3 convolutions, the second strided: (B, C, H, W) -> (B, C', H / s, W / s)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        ahead = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(ahead))))
        return out + (x if self.shortcut is None else self.shortcut(ahead))


class WideResNet18(nn.Module):
    """Four stages of two blocks, the widths 1, 2, 4, 8 times the first: (B, 3, 65, 65) -> (B, classes); four maps for the loss."""

    def __init__(self, width: int, groups: str, classes: int = 100) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        inputs = width
        for number, factor in enumerate((1, 2, 4, 8), start=1):
            outputs, stride = factor * width, 1 if number == 1 else 2
            self.add_module(
                f"layer{number}", nn.Sequential(WideBlock(inputs, outputs, stride), WideBlock(outputs, outputs, 1))
            )
            inputs = outputs
        self.bn1, self.relu = nn.BatchNorm2d(inputs, momentum=0.9), nn.ReLU()
        self.layers = ["layer1", "layer2", "layer3", "relu"]
        self.groups, self.pool = groups, GroupPool(groups)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(self.pool.pooled(inputs), classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return self.linear(self.average(self.pool(self.relu(self.bn1(x)))).flatten(1))


_VGG = {"kernels": (3,) * 8, "padding": (1,) * 8, "halved": (1, 2, 4, 6), "channels": 3, "hidden": 1024,
        "dropout": 0.5, "classes": 100}  # fmt: skip
_NARROW = {"kernels": (5, 3, 3, 3, 3, 3), "padding": (2, 1, 1, 1, 1, 1)}


def mnist_net(width: int, groups: str) -> PlainNet:
    """As published: six convolutions, 128 channels first for 'r4', 88 for 'r4-2-1'."""
    return PlainNet([width, width * 3 // 2, 2 * width, 2 * width, 3 * width, 4 * width], groups)


def centred_mnist_net(width: int, groups: str) -> PlainNet:
    """The same, to be converted and turned: windows that have a middle position, and all convolutions padded.

    An origin names the first position of a window. That of a window of three turns with the image, by its middle; that of a
    window of two does not: turned, it begins at another parity. And where borders wrap, a map that was not padded lies
    beside the image's centre.
    """
    widths = [width, width * 3 // 2, 2 * width, 2 * width, 3 * width, 4 * width]
    return PlainNet(widths, groups, padding=(3, 2, 2, 2, 2, 2), window=3)


def vgg(width: int, groups: str) -> PlainNet:
    """As published for rotated TinyImageNet, 64 x 64: 144 channels first for 'r4', 200 for 'r8', 99 and 129 for mixed groups."""
    return PlainNet([factor * width for factor in (1, 2, 4, 4, 8, 8, 8, 8)], groups, **_VGG)  # type: ignore[arg-type]


def _shaped(widths: Sequence[int], groups: str, window: int = 2) -> PlainNet:
    return PlainNet(widths, groups, window=window, **_NARROW)  # type: ignore[arg-type]


def narrow_net(width: int, groups: str, window: int = 2) -> PlainNet:
    """For a CPU and images of 16 x 16: MNIST's network with small kernels, and a second layer as wide as the first.

    All convolutions are padded; with a window of 3 it is to be converted and turned (`centred_mnist_net`).
    """
    return _shaped([factor * width for factor in (1, 1, 2, 2, 3, 4)], groups, window)


def tiny_net(width: int, groups: str, window: int = 2) -> PlainNet:
    """For images of 8 x 8: the narrow network, halved once."""
    return PlainNet(
        [width, width, 2 * width, 2 * width], groups, kernels=(3,) * 4, padding=(1,) * 4, halved=(2,), window=window
    )


def mnist_steerable(width: int) -> SteerableNet:
    """The published network with as many channels in fields of the quarter turns, and filters from a fixed basis."""
    widths = [width, width * 3 // 2, 2 * width, 2 * width, 3 * width, 4 * width]
    return SteerableNet(widths, (7, 5, 5, 5, 5, 5), (1, 2, 2, 2, 2, 0), (2, 4))


def narrow_steerable(width: int) -> SteerableNet:
    """The narrow network with as many channels in fields of the quarter turns, and filters from a fixed basis."""
    return SteerableNet(
        [factor * width for factor in (1, 1, 2, 2, 3, 4)], _NARROW["kernels"], _NARROW["padding"], (2, 4)
    )


def tiny_steerable(width: int) -> SteerableNet:
    """The network for 8 x 8 likewise."""
    return SteerableNet([width, width, 2 * width, 2 * width], (3,) * 4, (1,) * 4, (2,))


def _net(build: Callable[..., nn.Module], *arguments: Any) -> Callable[..., nn.Module]:
    """A maker as `companion.models.methods.NETS` has them: (filtering, place, weights to start from or None)."""

    def make(filtering: str | None = None, place: str = "after", weights: dict[str, Tensor] | None = None) -> nn.Module:
        model = build(*arguments)
        if weights is not None:
            load_into(model, weights, f"{build.__name__}({', '.join(map(str, arguments))})")
        return model

    return make


IEN_NETS = {
    "ien-mnist128-r4": _net(mnist_net, 128, "r4"),
    "ien-mnist88-r4-2-1": _net(mnist_net, 88, "r4-2-1"),
    "ien-mnist128-r4-centred": _net(centred_mnist_net, 128, "r4"),
    "ien-mnist128-r8": _net(mnist_net, 128, "r8"),
    "ien-mnist40-r4": _net(mnist_net, 40, "r4"),
    "steerable-mnist128": _net(mnist_steerable, 128),
    "ien-vgg144-r4": _net(vgg, 144, "r4"),
    "ien-vgg200-r8": _net(vgg, 200, "r8"),
    "ien-vgg99-r4-2-1": _net(vgg, 99, "r4-2-1"),
    "ien-vgg99-r8-4-2": _net(vgg, 99, "r8-4-2"),
    "ien-vgg129-r8-4-2-1": _net(vgg, 129, "r8-4-2-1"),
    "ien-resnet136-r4": _net(WideResNet18, 136, "r4"),
    "ien-resnet192-r8": _net(WideResNet18, 192, "r8"),
    "ien-resnet88-r4-2-1": _net(WideResNet18, 88, "r4-2-1"),
    "ien-resnet129-r8-4-2-1": _net(WideResNet18, 129, "r8-4-2-1"),
    "ien-narrow16-r4": _net(narrow_net, 16, "r4"),
    "ien-narrow16-r4-centred": _net(narrow_net, 16, "r4", 3),
    "ien-narrow-10k-r4": _net(
        _shaped, (8, 8, 12, 12, 20, 28), "r4"
    ),  # as many parameters as steerable-narrow16: 10 thousand
    "ien-narrow16-r8": _net(narrow_net, 16, "r8"),
    "ien-narrow11-r4-2-1": _net(narrow_net, 11, "r4-2-1"),
    "steerable-narrow16": _net(narrow_steerable, 16),
    "ien-tiny16-r4": _net(tiny_net, 16, "r4"),
    "ien-tiny16-r4-centred": _net(tiny_net, 16, "r4", 3),
    "ien-tiny8-r4": _net(tiny_net, 8, "r4"),
    "ien-tiny16-r8": _net(tiny_net, 16, "r8"),
    "ien-tiny11-r4-2-1": _net(tiny_net, 11, "r4-2-1"),
    "steerable-tiny16": _net(tiny_steerable, 16),
}
