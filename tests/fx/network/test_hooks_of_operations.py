"""Hooks on single operations are part of what a network computes: kept by conversion, run by the gate, called as before."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import mass

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LAYERS = (
    "a strided convolution",
    "an activation",
    "a convolution",
    "upsampling",
    "global pooling",
    "flattening",
    "linear",
)


def network():
    """With circular borders: with origins at zero, conversion changes nothing."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, padding_mode="circular"), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, padding_mode="circular"),
        nn.Upsample(scale_factor=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("layer", range(7), ids=LAYERS)
def test_a_hook_that_changes_an_output_is_kept(layer):
    hooked = network()
    hooked[layer].register_forward_hook(lambda module, args, y: y * 2)
    hooked[layer].register_forward_pre_hook(lambda module, args: (args[0] + 1, *args[1:]))
    changed = mass.convert(hooked, X)
    assert mass.certify(changed, X, shifts=8)
    assert not torch.allclose(changed(X), mass.convert(network(), X)(X))
    assert torch.allclose(mass.convert(hooked, X, origin="zero")(X), hooked(X), atol=1e-5)


def test_a_hook_on_what_a_convolution_reads_leaves_it_its_origin():
    """The origin of its map is an argument of its own: a hook that returns the changed map alone does not drop it."""
    converted = mass.convert(network(), X)
    converted[2].register_forward_pre_hook(lambda module, args: (args[0] * 2 + 1,))
    assert mass.certify(converted, X, shifts=8)
    strided = nn.Sequential(*network()[:2], nn.Conv2d(8, 8, 3, 2, 1), *network()[4:]).eval()
    strided[2].register_forward_pre_hook(lambda module, args: (args[0] * 2 + 1,))
    assert mass.certify(mass.convert(strided, X), X, shifts=8)


def test_hooks_are_heard_at_each_call_before_and_after_conversion():
    hooked, heard = network(), []
    for number, module in enumerate(hooked):
        module.register_forward_hook(lambda module, args, y, number=number: heard.append(number))
    converted = mass.convert(hooked, X)
    heard.clear()
    converted(X)
    assert heard == list(range(7))


def test_a_hook_that_reads_positions_is_refused():
    hooked, ramp = network(), torch.linspace(0, 1, 16)
    hooked[1].register_forward_hook(lambda module, args, y: y + ramp.to(y))
    with pytest.raises(mass.NotEquivariantError, match="node '1': after a circular shift"):
        mass.convert(hooked, X)


def test_pruned_weights_are_copied_once_they_are_no_computation():
    """A pruned weight is computed with gradients, and PyTorch copies no such tensor."""
    pruned = network()
    prune.l1_unstructured(pruned[0], "weight", 0.5)
    with pytest.raises(mass.NotEquivariantError, match=r"call it once in eval mode under torch\.no_grad"):
        mass.convert(pruned, X)
    with torch.no_grad():
        pruned(X)
    converted = mass.convert(pruned, X)
    assert mass.certify(converted, X, shifts=8)
    assert (converted[0].weight == 0).double().mean() == 0.5 and "0.weight_orig" in converted.state_dict()
