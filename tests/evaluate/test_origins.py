"""`mass.record_origins`: what a network chooses, pass by pass, while it runs."""

import pytest
import torch
import torchvision
from torch import nn

import mass
from mass.baselines.aps import convert_to_aps
from mass.baselines.lps import convert_to_lps

X = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def converted():
    torch.manual_seed(0)
    return mass.convert(torchvision.models.resnet18(weights=None).eval(), X)


def test_every_pass_has_its_origins_and_they_follow_the_image(converted):
    t = torch.tensor([3, 5])
    with torch.no_grad(), mass.record_origins(converted) as passes:
        converted(X)
        converted(X.roll((-3, -5), (2, 3)))
    still, moved = passes
    assert [found.name for found in still] == [f"mass_origin_{n}" for n in range(1, 6)]
    assert all(found.period == (2, 2) and found.origin.shape == (3, 2) for found in still)
    total, total_moved, stride = torch.zeros(3, 2).long(), torch.zeros(3, 2).long(), 1
    for before, after in zip(still, moved, strict=True):
        total, total_moved, stride = total + stride * before.origin, total_moved + stride * after.origin, stride * 2
        assert torch.equal(total % stride, (total_moved + t) % stride)


def test_the_output_is_the_same_and_nothing_is_left_behind(converted):
    expected = converted(X)
    with mass.record_origins(converted) as passes:
        assert torch.equal(converted(X), expected)
    converted(X)
    assert len(passes) == 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in converted.modules())


def test_what_is_kept_is_of_the_map_when_the_origin_is_read(converted):
    with torch.no_grad(), mass.record_origins(converted, mass.margin) as passes:
        converted(X)
    assert torch.equal(torch.stack([f.kept for f in passes[0]]).amin(0), mass.certify(converted, X, 1).margin)


def test_inside_another_model_names_are_whole_and_a_part_may_be_called(converted):
    model = nn.Sequential(nn.Identity(), converted)
    with mass.record_origins(model) as passes:
        model[1](X)
        model(X)
    assert [[found.name for found in each] for each in passes] == [[f"1.mass_origin_{n}" for n in range(1, 6)]] * 2


@pytest.mark.parametrize("convert", [convert_to_aps, convert_to_lps])
def test_of_a_baseline_the_components_that_it_keeps(convert):
    torch.manual_seed(0)
    model = convert(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1)).eval(), X).eval()
    with mass.record_origins(model) as passes:
        model(X)
    (found,) = passes[0]
    assert found.period == (2, 2) and found.origin.shape == (3, 2) and 0 <= found.origin.min() <= found.origin.max() < 2


def test_who_chooses_none_has_none():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1)).eval()
    for model in (plain, mass.convert(plain, X, origin="zero")):
        with mass.record_origins(model) as passes:
            model(X)
        assert passes == [[]]
