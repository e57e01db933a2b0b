"""The equivariance loss: zero for what is equivariant by construction, positive for what is not, right in its gradient."""

import math

import pytest
import torch
from torch import nn

import mass
from companion.core.errors import Refusal
from companion.data.transforms import DRAWS, QuarterTurns, Shifts, rotations
from companion.measures.equivariance import (
    equivariance_errors,
    implicit_equivariance_loss,
    layer_losses,
    reading,
    shifts_of,
)
from companion.models.implicit.group_pool import GROUPS, GroupPool
from companion.models.implicit.ien_nets import IEN_NETS
from mass.functional.shift import shift

NARROW = "ien-narrow16-r4"


def built(name: str) -> nn.Module:
    """A network whose normalisation has seen something."""
    torch.manual_seed(0)
    model = IEN_NETS[name]()
    model(torch.rand(16, 1, 16, 16))
    return model.eval()


def drawn(name: str, count: int, side: int = 16):
    return DRAWS[name](count, side, torch.Generator().manual_seed(0))


def losses(model: nn.Module, layers, pool, x, transforms):
    with torch.no_grad(), reading(model, layers) as features:
        model(x)
        here = [pool(f) for f in features]
        model(transforms(x))
        return layer_losses(here, [pool(f) for f in features], transforms)


def test_zero_for_steerable_convolutions_under_quarter_turns():
    pytest.importorskip("e2cnn")
    model = built("steerable-narrow16")
    x = torch.rand(6, 1, 16, 16)
    assert losses(model, model.layers, GroupPool("r4"), x, drawn("r4", 6)).max() < 1e-10  # rounding: errors of 1e-6


@pytest.mark.parametrize("side", [16, 32])
def test_zero_to_the_bit_for_mass_under_every_shift(side):
    plain = built(NARROW)
    model = mass.convert(plain, torch.zeros(2, 1, side, side))
    x = torch.rand(8, 1, side, side)
    by = torch.randint(side, (8, 2), generator=torch.Generator().manual_seed(0))
    assert losses(model, plain.layers, GroupPool("r4"), x, shifts_of(model, x, by)).max() == 0


def test_zero_for_circular_padding_under_multiples_of_the_stride_alone():
    plain = built(NARROW)
    model = mass.convert(plain, torch.zeros(2, 1, 16, 16), origin="zero")
    x, by = torch.rand(4, 1, 16, 16), torch.tensor([[4, 8], [0, 4], [12, 0], [8, 8]])
    assert losses(model, plain.layers, GroupPool("r4"), x, Shifts(by, 16)).max() < 1e-12
    odd = Shifts(torch.ones_like(by), 16, {2: torch.zeros_like(by), 4: torch.zeros_like(by)})
    assert losses(model, plain.layers, GroupPool("r4"), x, odd)[2:].min() > 1e-6


@pytest.mark.parametrize("name", ["r4", "r8", "r4-reflections", "scales"])
def test_positive_for_others(name):
    model = built(NARROW)
    assert losses(model, model.layers, GroupPool("r4"), torch.rand(6, 1, 16, 16), drawn(name, 6)).mean(1).min() > 1e-5


def test_zero_for_a_network_of_points_under_all_that_is_exact():
    model, x = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU()), torch.rand(4, 1, 16, 16)  # a pixel is seen by itself
    for name in ("r4", "r4-reflections", "shifts"):
        assert losses(model, ["1"], GroupPool("r4"), x, drawn(name, 4)).max() < 1e-12


@pytest.mark.parametrize("name", ["r4", "r8", "r4-reflections", "scales", "shifts"])
def test_the_gradient_is_right(name):
    torch.manual_seed(0)
    transforms = drawn(name, 3, 6)
    here, there = (torch.randn(3, 4, 6, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    pool = GroupPool("r4")
    assert torch.autograd.gradcheck(
        lambda a, b: implicit_equivariance_loss([pool(a)], [pool(b)], transforms), (here, there)
    )


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_a_batch_gives_the_mean_of_its_images(name):
    maps = [torch.rand(2, 5, 3, side, side) for side in (16, 8)]
    transforms = drawn(name, 5)
    if name == "shifts":
        transforms = Shifts(transforms.by // 2 * 2, 16)
    whole = implicit_equivariance_loss([m[0] for m in maps], [m[1] for m in maps], transforms)
    single = [
        implicit_equivariance_loss(
            [m[0, r : r + 1] for m in maps], [m[1, r : r + 1] for m in maps], transforms[r : r + 1]
        )
        for r in range(5)
    ]
    assert torch.allclose(whole, torch.stack(single).mean(), rtol=1e-5)


def test_where_nothing_is_defined_nothing_counts():
    turned = rotations(torch.tensor([45.0]))
    here, there = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)
    here[0, 0, 0, 0] = 100.0  # a corner that left the frame
    assert implicit_equivariance_loss([here], [there], turned) == 0


@pytest.mark.parametrize("groups", sorted(GROUPS))
def test_pooled_channels_are_maxima_of_their_groups(groups):
    pool, channels = GroupPool(groups), 43 * 8 if groups == "r8-4-2-1" else 88
    x = torch.randn(2, channels, 3, 3)
    expected, start = [], 0
    for part, size in pool.parts(channels):
        expected += [x[:, c : c + size].max(1).values for c in range(start, start + part, size)]
        start += part
    assert start == channels and torch.equal(pool(x), torch.stack(expected, 1))
    assert pool.pooled(channels) == len(expected)


def test_the_networks_have_the_published_channels():
    shape = {name: [m.out_channels for m in IEN_NETS[name]().modules() if isinstance(m, nn.Conv2d)]
             for name in ("ien-mnist128-r4", "ien-mnist88-r4-2-1")}  # fmt: skip
    assert shape["ien-mnist128-r4"] == [128, 192, 256, 256, 384, 512]
    assert shape["ien-mnist88-r4-2-1"] == [88, 132, 176, 176, 264, 352]
    for name in shape:
        model = IEN_NETS[name]().eval()
        with torch.no_grad(), reading(model, model.layers) as features:
            assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
        assert [f.shape[-1] for f in features] == [24, 24, 12, 12, 6, 2]
        assert GroupPool(model.groups)(features[-1]).shape[1] == 128


@pytest.mark.parametrize(("name", "side", "sides"), [
    ("ien-vgg144-r4", 64, [64, 32, 16, 16, 8, 8, 4, 4]), ("ien-resnet136-r4", 65, [65, 33, 17, 9]),
    ("ien-resnet88-r4-2-1", 65, [65, 33, 17, 9]),
])  # fmt: skip
def test_larger_networks_give_the_published_maps(name, side, sides):
    with torch.device("meta"):
        model = IEN_NETS[name]().eval()
        with reading(model, model.layers) as features:
            assert model(torch.zeros(1, 3, side, side)).shape == (1, 100)
    assert [f.shape[-1] for f in features] == sides


def test_a_layer_of_which_nothing_is_defined_has_no_error():
    model = IEN_NETS["ien-mnist88-r4-2-1"]().eval()
    turned = rotations(torch.tensor([45.0, 45.0]))
    found = equivariance_errors(model, model.layers, GroupPool(model.groups), torch.rand(2, 1, 28, 28), turned)
    assert all(error > 0 for error in found[:5]) and math.isnan(found[5])  # 2 x 2


def test_errors_are_relative():
    model = built(NARROW)
    x, transforms = torch.rand(4, 1, 16, 16), drawn("r4", 4)
    errors = equivariance_errors(model, model.layers, GroupPool("r4"), x, transforms)
    assert len(errors) == 6 and all(0 < error < 3 for error in errors)
    assert (
        max(
            equivariance_errors(model, model.layers, GroupPool("r4"), x, QuarterTurns(torch.zeros(4, dtype=torch.long)))
        )
        == 0
    )


@pytest.mark.parametrize(
    ("say", "sentence"),
    [
        (lambda: GroupPool("r5"), "no groups named 'r5'"),
        (lambda: GroupPool("r4")(torch.zeros(1, 6, 2, 2)), "6 channels cannot be shared out"),
        (lambda: GroupPool("r4-2-1").pooled(16), "16 channels cannot be shared out into the groups r4-2-1"),
        (lambda: reading(nn.ReLU(), ["nothing"]).__enter__(), "no layer named 'nothing'"),
    ],
)
def test_wrong_inputs_are_refused(say, sentence):
    with pytest.raises(Refusal, match=sentence):
        say()


def test_mass_shifts_follow_the_lattice():
    plain = built(NARROW)
    model = mass.convert(plain, torch.zeros(2, 1, 16, 16))
    x, by = torch.rand(3, 1, 16, 16), torch.tensor([[1, 2], [3, 5], [15, 0]])
    found = shifts_of(model, x, by)
    assert sorted(found.moved) == [2, 4] and torch.equal(found(x), shift(x, by))


def symmetric(name: str) -> nn.Module:
    """A network whose filters look the same turned and mirrored."""
    model = built(name).double()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            turned = [module.weight.data.rot90(k, (2, 3)) for k in range(4)]
            module.weight.data = sum(turned + [weight.flip(3) for weight in turned]) / 8
    return model


@pytest.mark.parametrize("name", ["r4", "r4-reflections"])
def test_mass_keeps_the_equivariance_to_turns_that_filters_have(name):
    """Origins turn with the image, and so do maps on all lattices, where windows have a middle; windows of two have none."""
    x, transforms = torch.rand(8, 1, 16, 16, dtype=torch.float64), drawn(name, 8)
    shown = {}
    for net in ("ien-narrow16-r4-centred", NARROW):
        plain = symmetric(net)
        model = mass.convert(plain, torch.zeros(2, 1, 16, 16, dtype=torch.float64))
        shown[net] = losses(model, plain.layers, GroupPool("r4"), x, transforms)
    assert shown["ien-narrow16-r4-centred"].max() < 1e-20
    assert shown[NARROW][:2].max() < 1e-20 and shown[NARROW][2:].max() > 1e-9
