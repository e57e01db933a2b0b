"""`mass.compile`: a compiled network gives the same bits under shifts."""

import pytest
import torch
import torchvision
from torch import nn

import mass


def odd():
    """Odd channel counts, whose channels-last convolutions round by position."""
    layers = [
        nn.Conv2d(3, 13, 3, 2, 1),
        nn.SiLU(),
        nn.Conv2d(13, 13, 3, 2, 1, groups=13),
        nn.Conv2d(13, 27, 1),
        nn.GELU(),
    ]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Conv2d(27, 9, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


FAMILIES = {"odd channels": odd} | {
    name: lambda name=name: torchvision.models.get_model(name, weights=None, num_classes=5)
    for name in ("resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5")
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_all_shifts_give_the_same_bits(name):
    torch._dynamo.reset()
    torch.manual_seed(0)
    x = torch.randn(1, 3, 64, 96)
    compiled = mass.compile(mass.convert(FAMILIES[name]().eval(), x, verify=False))
    with torch.no_grad():
        expected = compiled(x)
        for t in [(rows, columns) for rows in range(8) for columns in range(8)]:
            assert torch.equal(compiled(x.roll(t, (2, 3))), expected), t


def test_options(monkeypatch):
    heard = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: heard.append(options))
    mass.compile(nn.Identity())
    mass.compile(nn.Identity(), fullgraph=True, options={"max_autotune": True})
    mass.compile(nn.Identity(), backend="aot_eager")
    assert heard == [
        {"options": {"layout_optimization": False}},
        {"fullgraph": True, "options": {"layout_optimization": False, "max_autotune": True}},
        {"backend": "aot_eager"},
    ]
    with pytest.raises(ValueError, match="mode 'max-autotune' cannot be combined"):
        mass.compile(nn.Identity(), mode="max-autotune")
