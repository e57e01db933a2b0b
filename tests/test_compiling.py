"""`mass.compile`: a compiled network gives the same bits under shifts."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

import mass
from companion.studies.zoo.members import TORCHVISION_FAMILIES


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


# The smallest of each family of torchvision's classifiers that the census has; the rest of these want 224 pixels.
SMALL = tuple(
    name
    for name in TORCHVISION_FAMILIES
    if not name.startswith(("maxvit", "vit", "swin", "alexnet", "vgg", "inception"))
)
LARGE = tuple(name for name in TORCHVISION_FAMILIES if name not in SMALL)


def network(name):
    """With random weights, in which nothing is constant that was made so, and an image for it."""
    if name == "odd channels":
        return odd().eval(), torch.randn(1, 3, 64, 96)
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=5, **options).eval()
    for p in model.parameters():
        if p.numel() > 1 and bool((p == p.flatten()[0]).all()):
            p.data.add_(torch.randn_like(p), alpha=0.2)
    sizes = {
        "inception_v3": 320,
        "swin_v2_t": 256,
        "alexnet": 192,
    }  # AlexNet pools 7 x 7 to 6 x 6 at 224, which is refused
    size = (64, 96) if name in SMALL else (sizes.get(name, 224),) * 2
    return model, torch.randn(1, 3, *size)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["odd channels", *SMALL, *LARGE])
def test_shifts_give_the_same_bits(name):
    """Of small images all residues modulo 8, of large ones a few."""
    model, x = network(name)
    compiled = mass.compile(mass.convert(model, x, verify=False))
    shifts = [(i, j) for i in range(8) for j in range(8)] if x.shape[2] == 64 else [(1, 0), (0, 1), (3, 5), (31, 14)]
    with torch.no_grad():
        expected = compiled(x)
        for t in shifts:
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
    mass.compile(nn.Identity(), mode="default")
    mass.compile(nn.Identity(), backend="eager", mode="reduce-overhead")
    assert heard[3:] == [heard[0], {"backend": "eager", "mode": "reduce-overhead"}]
    with pytest.raises(ValueError, match="mode 'max-autotune' cannot be combined"):
        mass.compile(nn.Identity(), mode="max-autotune")


def test_a_copy_of_a_compiled_network_computes_with_its_own_weights():
    """What a network was compiled to knows the original's parameters."""
    x = torch.randn(1, 3, 64, 96)
    network = mass.convert(odd().eval(), x)
    expected = network(x)
    network.compile(backend="eager")
    network(x)
    zeroed, shared = copy.deepcopy(network), copy.copy(network)
    with torch.no_grad():
        for parameter in zeroed.parameters():
            parameter.zero_()
    assert not zeroed(x).any() and torch.equal(shared(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(network))(x), expected)
