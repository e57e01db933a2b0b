"""The baselines against values that were computed once with their authors' code (authors.md says how)."""

from pathlib import Path

import numpy
import pytest
import torch

from companion.models.methods import METHODS
from mass.baselines.aps import APS
from mass.baselines.ddac import DDAC2d
from mass.baselines.lps import LPS, PolyphaseScores
from mass.nn.blurpool import BlurPool

with numpy.load(Path(__file__).parent / "authors.npz") as _file:
    EXPECTED = {name: torch.tensor(_file[name]) for name in _file.files}


def filled(module, seed):
    """Parameters drawn in their order, which is the same in the authors' modules and in ours."""
    draw = numpy.random.RandomState(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            value = draw.standard_normal(p.shape)
            scaled = (
                value * (2 / numpy.prod(p.shape[1:])) ** 0.5
                if p.ndim > 1
                else 0.1 * value + (not name.endswith("bias"))
            )
            p.copy_(torch.tensor(scaled, dtype=p.dtype))
    return module.eval()


def images(shape, seed):
    return torch.tensor(numpy.random.RandomState(seed).standard_normal(shape), dtype=torch.float32)


X, WIDE, PICTURES = images((6, 8, 8, 8), 0), images((3, 16, 8, 8), 2), images((6, 3, 32, 32), 4)


def lps():
    scores = filled(PolyphaseScores(8), 1)
    return LPS(2).eval()(X, scores(X))


def network(method):
    return filled(METHODS[method].build("resnet20", 0), 5)(PICTURES)


def dense_blur(size):
    return BlurPool(8, size, stride=1)(X)


OURS = {
    "aps": lambda: APS(2)(X),
    "aps_lpf3_cifar": lambda: APS(2)(dense_blur(3), index=APS(2).index(X)),
    "aps_lpf3_imagenet": lambda: APS(2)(dense_blur(3)),
    **{f"blurpool{size}": lambda size=size: BlurPool(8, size)(X) for size in (1, 2, 3, 4, 5)},
    "lps": lps,
    **{
        f"ddac_groups{groups}_stride{stride}": lambda groups=groups, stride=stride: filled(
            DDAC2d(16, 3, stride, groups), 3
        )(WIDE)
        for groups in (2, 8)
        for stride in (1, 2)
    },
    "resnet20": lambda: network("baseline"),
    "resnet20_aps": lambda: network("aps"),
    "resnet20_aps_lpf3": lambda: network("aps-lpf3-cifar"),
    "resnet20_lpf3": lambda: network("lpf3"),
}


@torch.no_grad()
@pytest.mark.parametrize("name", OURS)
def test_ours_is_theirs(name):
    ours, theirs = OURS[name](), EXPECTED[name]
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().amax() <= 2e-6 * theirs.abs().amax()


@torch.no_grad()
def test_the_scores_of_lps_are_theirs():
    ours = filled(PolyphaseScores(8), 1).scores(X)
    assert torch.allclose(ours, EXPECTED["lps_scores"], atol=1e-6)


def test_every_value_is_held():
    assert set(EXPECTED) == {*OURS, "lps_scores"}
