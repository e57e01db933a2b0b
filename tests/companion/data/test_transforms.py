"""Transformations of images: exact ones come back to the bit, the others where they say; a batch is its images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.core.errors import Refusal
from companion.data.transforms import DRAWS, Affine, QuarterTurns, Reflections, Shifts, rotations, scalings

EXACT = ["r4", "r4-reflections", "shifts"]


def drawn(name: str, count: int, side: int, seed: int):
    return DRAWS[name](count, side, torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(EXACT), st.integers(1, 5), st.integers(1, 3), st.integers(2, 12), st.integers(0, 99))
def test_exact_ones_come_back_to_the_bit(name, count, channels, side, seed):
    x, transforms = torch.rand(count, channels, side, side), drawn(name, count, side, seed)
    back, defined = transforms.undo(transforms(x))
    assert torch.equal(back, x) and defined is None and len(transforms) == count


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(DRAWS)), st.integers(2, 5), st.integers(4, 12), st.integers(0, 99))
def test_a_batch_is_its_images_one_by_one(name, count, side, seed):
    x, transforms = torch.rand(count, 2, side, side), drawn(name, count, side, seed)
    single = torch.cat([transforms[row : row + 1](x[row : row + 1]) for row in range(count)])
    assert torch.allclose(transforms(x), single, atol=1e-6)
    back, defined = transforms.undo(x)
    parts = [transforms[row : row + 1].undo(x[row : row + 1]) for row in range(count)]
    assert torch.allclose(back, torch.cat([part for part, _ in parts]), atol=1e-6)
    if defined is not None:
        assert torch.equal(defined, torch.cat([mask for _, mask in parts]))


def test_quarter_turns_are_torchs_and_what_rotations_approach():
    x = torch.rand(4, 1, 9, 9)
    turned = QuarterTurns(torch.arange(4))(x)
    assert all(torch.equal(turned[k], x[k].rot90(k, (1, 2))) for k in range(4))
    assert torch.allclose(rotations(90 * torch.arange(4))(x), turned, atol=1e-5)


def test_a_turn_by_45_degrees_comes_back_where_it_says():
    grid = torch.linspace(0, 3, 33)
    x = (grid.sin()[:, None] * grid.cos())[None, None]  # smooth: interpolation loses little
    back, defined = rotations(torch.tensor([45.0])).undo(rotations(torch.tensor([45.0]))(x))
    assert not defined[0, 0, 0, 0] and defined[0, 0, 16, 16] and 0.6 < defined.float().mean() < 0.95
    inner = defined.clone()
    inner[..., :3, :] = inner[..., -3:, :] = inner[..., :, :3] = inner[..., :, -3:] = False
    assert ((back - x).abs() * inner).max() < 0.05


def test_a_scaling_shows_half_the_size_inside_black():
    y = scalings(torch.tensor([0.5]))(torch.ones(1, 1, 16, 16))
    assert y[0, 0, 5:11, 5:11].min() > 0.99 and y[0, 0, :3].max() == 0
    _, defined = scalings(torch.tensor([0.5])).undo(y)
    assert defined.all()


def test_a_shift_moves_maps_of_a_stride_by_as_many_positions():
    by, y = torch.tensor([[4, 8]]), torch.rand(1, 1, 4, 4)
    assert torch.equal(Shifts(by, 16).undo(y.roll((-1, -2), (2, 3)))[0], y)


@pytest.mark.parametrize(
    ("say", "sentence"),
    [
        (lambda: QuarterTurns(torch.ones(1, dtype=torch.long))(torch.zeros(1, 1, 4, 6)), "Only square maps"),
        (lambda: Affine(torch.eye(2)[None])(torch.zeros(1, 1, 4, 6)), "not 4 x 6"),
        (lambda: Shifts(torch.tensor([[1, 0]]), 16).undo(torch.zeros(1, 1, 8, 8)), "that 2 does not divide"),
        (lambda: Shifts(torch.tensor([[1, 0]]), 16).undo(torch.zeros(1, 1, 6, 6)), "no whole part"),
    ],
)
def test_wrong_inputs_are_refused(say, sentence):
    with pytest.raises(Refusal, match=sentence):
        say()


def test_reflections_of_kind_0_leave_an_image():
    x = torch.rand(3, 1, 4, 4)
    y = Reflections(torch.arange(3))(x)
    assert torch.equal(y[0], x[0]) and torch.equal(y[1], x[1].flip(1)) and torch.equal(y[2], x[2].flip(2))
