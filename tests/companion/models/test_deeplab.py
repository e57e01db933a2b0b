"""DeepLabV3+ with the paper's head: its shape, what becomes of it under MASS, and how it is started."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mass
from companion.core.errors import Refusal
from companion.models.deeplab import SEGMENTERS, VainFDeepLab
from companion.models.methods import METHODS

PAPERS = "deeplabv3plus-vainf-resnet18"


def test_the_head_is_vainfs():
    """Convolutions of VainF's `DeepLabHeadV3Plus`, in order, for the channels of a ResNet-18."""
    model = VainFDeepLab("resnet18", 21)
    found = {
        (c.in_channels, c.out_channels, c.kernel_size[0], c.dilation[0])
        for part in (model.aspp, model.project, model.classifier)
        for c in part.modules()
        if isinstance(c, nn.Conv2d)
    }
    atrous = {(512, 256, 3, rate) for rate in (6, 12, 18)}
    assert found == atrous | {(512, 256, 1, 1), (1280, 256, 1, 1), (64, 48, 1, 1), (304, 256, 3, 1), (256, 21, 1, 1)}
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.1]


@pytest.mark.parametrize("method", ["mass", "aps", "mass-lpf3"])
def test_masks_move_along(method):
    model = METHODS[method].build(PAPERS, 0).eval()
    assert mass.certify(model, torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)), 6)


def test_the_encoder_starts_from_published_weights_and_learns_slowly():
    weights = SEGMENTERS["deeplabv3plus-resnet18"]().encoder.state_dict()
    model = METHODS["baseline-zero"].build(PAPERS, 0, {name: value + 1 for name, value in weights.items()})
    assert torch.equal(model.state_dict()["encoder.conv1.weight"], weights["conv1.weight"] + 1)
    assert {m.momentum for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)} == {0.01}
    assert {m.momentum for m in model.aspp.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    with pytest.raises(Refusal, match="encoder resnet18"):
        METHODS["baseline-zero"].build(PAPERS, 0, {"conv1.weight": torch.zeros(1)})
