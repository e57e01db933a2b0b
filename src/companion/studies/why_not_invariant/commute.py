"""Which operations commute with shifts, and where a network stops doing so: the measurements of notebook 01."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import mass
from mass.nn.blurpool import BlurPool
from mass.nn.conv import CircularConv2d

Shift = tuple[int, int]


def example_layers(channels: int = 3) -> dict[str, nn.Module]:
    """One layer of each kind, by name; random weights, in eval mode."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels)
    assert norm.running_mean is not None
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    strided = mass.MassConv2d(channels, 8, 3, 2, 1)
    layers = {
        "convolution, circular padding": CircularConv2d(channels, 8, 3, padding=1),
        "convolution, zero padding": nn.Conv2d(channels, 8, 3, padding=1),
        "ReLU": nn.ReLU(),
        "batch normalisation": norm,
        "global average pooling": nn.AdaptiveAvgPool2d(1),
        "strided convolution, zero padding": nn.Conv2d(channels, 8, 3, 2, 1),
        "strided convolution, circular": CircularConv2d(channels, 8, 3, 2, 1),
        "max pooling 2 x 2": nn.MaxPool2d(2),
        "average pooling 2 x 2": nn.AvgPool2d(2),
        "blur of size 3, then sampling": BlurPool(channels, 3),
        "MASS strided convolution": strided,
        "MASS max pooling 2 x 2": mass.MassMaxPool2d(2),
    }
    return {name: layer.eval() for name, layer in layers.items()}


def distance(moved: Tensor, still: Tensor, shifts: Sequence[Shift], border: int = 0) -> float:
    """The smallest distance of `moved` from a shift S' of `still`, relative to `still`, in percent.

    Shape: both (1, C, H, W); `border` positions on each side are left out of the comparison.
    """
    keep = (..., slice(border, still.shape[2] - border), slice(border, still.shape[3] - border))
    candidates = [still.roll((-i, -j), (2, 3)) for i, j in shifts]
    return min(((moved - y)[keep].norm() / y[keep].norm()).item() for y in candidates) * 100


def rounded(t: Shift, stride: int) -> list[Shift]:
    """The shifts of a map of that stride which a shift by t of the input may become: t / stride, rounded up or down."""
    rows, columns = ({k // stride, -(-k // stride)} for k in t)
    return list(product(rows, columns))


@torch.no_grad()
def layer_errors(layers: dict[str, nn.Module], x: Tensor) -> pd.DataFrame:
    """Distance (percent) of f(S x) from the best S' f(x), by layer, for two shifts, with and without the border; shifts are diagonal.

    Shape: x (1, C, H, W), H and W even.
    """
    rows = {}
    for name, layer in layers.items():
        y = layer(x)
        stride = x.shape[3] // y.shape[3] if y.shape[3] > 1 else 1
        border = 4 if y.shape[3] > 1 else 0
        by_1, by_2 = (layer(mass.shift(x, torch.tensor((t, t)))) for t in (1, 2))
        rows[name] = {
            "1 pixel": distance(by_1, y, rounded((1, 1), stride)),
            "2 pixels": distance(by_2, y, rounded((2, 2), stride)),
            "2 pixels,\nborder left out": distance(by_2, y, rounded((2, 2), stride), border),
        }
    return pd.DataFrame(rows).T


def block_ends(model: nn.Module) -> list[str]:
    """The last layer of each block of torchvision's MobileNetV2, by name, in order."""
    blocks = dict(model.get_submodule("features").named_children())
    names = []
    for key, block in blocks.items():
        inner = "conv." if hasattr(block, "conv") else ""
        last = list(block.get_submodule(inner.rstrip("."))._modules)[-1]
        names.append(f"features.{key}.{inner}{last}")
    return names


@torch.no_grad()
def maps_of(model: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """What the named layers of a network, converted or not, put out for x."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda layer, inputs, output: found.__setitem__(name, output)

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return {name: found[name] for name in names}


def causes(models: dict[str, nn.Module], name: str, images: Tensor, shifts: Sequence[Shift]) -> list[dict[str, Any]]:
    """Distances of one layer's features, in percent, for each image and shift, told by their cause.

    Args:
        models: 'plain' and 'circular padding'. With circular padding only sampling is left; under shifts by the layer's
            stride, in the plain network, only the border; under other shifts, in the plain network, both.
        name: of the layer; images (B, 3, H, W).
    """
    rows = []
    for number, x in enumerate(images.split(1)):
        for method, model in models.items():
            still = maps_of(model, [name], x)[name]
            stride = x.shape[3] // still.shape[3]
            for t in shifts:
                whole = all(by % stride == 0 for by in t)
                if whole and method != "plain":
                    continue
                moved = maps_of(model, [name], mass.shift(x, torch.tensor(t)))[name]
                cause = "border" if whole else "both" if method == "plain" else "sampling"
                rows.append(
                    {
                        "image": number,
                        "cause": cause,
                        "shift": t,
                        "distance": distance(moved, still, rounded(t, stride)),
                    }
                )
    return rows


def feature_distances(
    models: dict[str, nn.Module], names: Sequence[str], x: Tensor, shifts: Sequence[Shift]
) -> list[dict[str, Any]]:
    """Distance of F(S_t x) from the best S' F(x), in percent, per method, layer and shift t. Shape: x (1, 3, H, W)."""
    rows = []
    for method, model in models.items():
        still = maps_of(model, names, x)
        for t in shifts:
            moved = maps_of(model, names, mass.shift(x, torch.tensor(t)))
            for depth, name in enumerate(names):
                stride = x.shape[3] // still[name].shape[3]
                found = distance(moved[name], still[name], rounded(t, stride))
                rows.append({"method": method, "layer": name, "depth": depth, "stride": stride, "shift": t[1],
                             "distance": found})  # fmt: skip
    return rows
