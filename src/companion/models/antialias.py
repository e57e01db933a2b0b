"""Anti-aliasing filters in torchvision's networks, where the filters' authors put them (BlurPool, DDAC, APS).

A strided 3 x 3 convolution becomes dense, and the filter samples behind its activation; on a shortcut the filter precedes
the 1 x 1 convolution; a max pooling becomes dense and is followed by it. The stem's convolution stays strided. The pooling's
window stays torchvision's, 3 x 3 with a border of 1, where the authors' ResNets have 2 x 2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck

from mass.baselines.ddac import DDAC2d
from mass.nn.blurpool import BlurPool

FILTERS: dict[str, Callable[..., nn.Module]] = {
    "lpf1": partial(BlurPool, kernel_size=1),  # sampling alone, behind the activation: where APS puts it
    "lpf3": partial(BlurPool, kernel_size=3),
    "ddac3": partial(DDAC2d, kernel_size=3),
}
DESCRIPTIONS = {
    None: "none",
    "lpf1": "none (sampled behind the ReLU)",
    "lpf3": "binomial 3 x 3",
    "ddac3": "DDAC 3 x 3",
}


def antialias(model: nn.Module, filtering: str) -> nn.Module:
    """A ResNet or MobileNetV2 of torchvision, or an encoder made of one, with a filter wherever it samples; in place.

    Weights are to be loaded before: where a filter precedes a convolution, the convolution's keys get a '.1'.
    """
    make = FILTERS[filtering]
    for block in list(model.modules()):
        if isinstance(block, BasicBlock | Bottleneck):
            strided, following = ("conv1", "conv2") if isinstance(block, BasicBlock) else ("conv2", "conv3")
            conv = getattr(block, strided)
            if stride := _make_dense(conv):
                sampled = nn.Sequential(make(conv.out_channels, stride=stride), getattr(block, following))
                setattr(block, following, sampled)
            if block.downsample is not None and (stride := _make_dense(block.downsample[0])):
                block.downsample = nn.Sequential(
                    make(block.downsample[0].in_channels, stride=stride), *block.downsample
                )
        elif isinstance(block, InvertedResidual):
            for layer in block.conv:
                if isinstance(layer, nn.Sequential) and (stride := _make_dense(layer[0])):
                    layer.append(make(layer[0].out_channels, stride=stride))
    pool = getattr(model, "maxpool", None)
    if isinstance(pool, nn.MaxPool2d):
        followed: Any = model.get_submodule("bn1")
        filtered = make(followed.num_features, stride=pool.stride)
        pool.stride = 1
        model.maxpool = nn.Sequential(pool, filtered)
    return model


def _make_dense(conv: Any) -> int:
    """The stride that a convolution had; 0 where it was dense already, by dilation say."""
    stride, conv.stride = conv.stride[0], (1, 1)
    return stride if stride > 1 else 0
