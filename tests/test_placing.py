"""An ordinary shift of content is a circular shift of the canvas, to the bit; and so are a converted network's answers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mass

FILLS = ("border", "mean", "reflect", 0.0, -1.5, [0.1, 0.2, 0.3])
sides = st.integers(1, 12)


def image(height: int, width: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed)).to(dtype)


def framed(content: Tensor, size: tuple[int, int], at: tuple[int, int], ground: float) -> Tensor:
    """Content on a plain ground, as a camera's frame shows it."""
    frame = torch.full((*content.shape[:2], *size), ground, dtype=content.dtype)
    frame[:, :, at[0] : at[0] + content.shape[2], at[1] : at[1] + content.shape[3]] = content
    return frame


@settings(max_examples=60, deadline=None)
@given(h=sides, w=sides, rows=sides, columns=sides, t=st.tuples(st.integers(-30, 30), st.integers(-30, 30)), seed=st.integers(0, 99),
       fill=st.sampled_from(FILLS))  # fmt: skip
def test_where_it_is_put_is_a_circular_shift(h, w, rows, columns, t, seed, fill) -> None:
    x, size = image(h, w, seed), (h + rows, w + columns)
    placed = mass.canvas(x, size, fill, (2, 1))
    assert torch.equal(mass.canvas(x, size, fill, (2 + t[0], 1 + t[1])), placed.roll(t, (2, 3)))
    back = placed.roll((-2, -1), (2, 3))
    assert torch.equal(back[:, :, :h, :w], x)


@settings(max_examples=60, deadline=None)
@given(places=st.tuples(*[st.integers(0, 9)] * 4), seed=st.integers(0, 99), ground=st.floats(-2, 2, width=32),
       dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]), known=st.booleans())  # fmt: skip
def test_content_that_moves_before_a_plain_ground(places, seed, ground, dtype, known) -> None:
    a, b, c, d = places
    content = image(7, 5, seed, dtype)
    first, second = (framed(content, (16, 14), at, ground) for at in ((a, b), (c, d)))
    fill = ground if known else "border"
    there, here = (mass.canvas(x, (20, 24), fill) for x in (second, first))
    assert torch.equal(there, here.roll((c - a, d - b), (2, 3)))


def test_the_mean_is_the_same_wherever_content_is_but_shows_the_frame() -> None:
    content = image(7, 5, 0) * 1e3
    first, second = (framed(content, (16, 16), at, 0.3) for at in ((1, 1), (7, 9)))
    there, here = mass.canvas(second, 32, "mean"), mass.canvas(first, 32, "mean")
    assert torch.equal(there[..., :1, :1], here[..., :1, :1])
    assert not torch.equal(there, here.roll((6, 8), (2, 3)))


def test_it_ends_where_content_leaves() -> None:
    x = framed(image(7, 5, 0), (16, 16), (1, 1), 0.0)
    cut = torch.zeros_like(x)
    cut[:, :, :-3] = x[:, :, 3:]  # two rows of the content leave
    assert not torch.equal(mass.canvas(cut, 32, 0.0), mass.canvas(x, 32, 0.0).roll((-3, 0), (2, 3)))


def test_a_mirror_meets_itself() -> None:
    x = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    assert mass.canvas(x, (1, 7), "reflect", (0, 0)).flatten().tolist() == [1, 2, 3, 2, 1, 3, 2]
    assert mass.canvas(x, (1, 15), "reflect", (0, 0)).flatten().tolist()[:9] == [1, 2, 3, 2, 1, 2, 3, 2, 1]
    assert torch.equal(mass.canvas(x, (2, 3), "reflect", (0, 0)), x.expand(1, 1, 2, 3))


def test_a_network_answers_alike() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1),
                          nn.Flatten(), nn.Linear(8, 5)).eval()  # fmt: skip
    model = mass.convert(plain, torch.randn(1, 3, 32, 32))
    content = image(11, 9, 3)
    first, second = (framed(content, (24, 24), at, 0.25) for at in ((2, 5), (11, 8)))
    with torch.no_grad():
        assert torch.equal(model(mass.canvas(first, 32)), model(mass.canvas(second, 32)))
        assert not torch.equal(plain(mass.canvas(first, 32)), plain(mass.canvas(second, 32)))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"size": 7}, ValueError, "smaller than the image, 8 x 8"),
        ({"size": 0}, ValueError, "size must be at least 1"),
        ({"at": (1.9, 2.9)}, TypeError, r"at must be a pair of ints, whole pixels, got \(1.9, 2.9\)"),
        ({"at": (1,)}, TypeError, "at must be a pair"),
        ({"size": 8.5}, TypeError, "size must be an int or a pair"),
        ({"fill": "zeros"}, ValueError, "unknown fill 'zeros'; choose one of border, mean, reflect"),
        ({"fill": [0.0, 1.0]}, ValueError, "one for each of 3 channels, got 2"),
        ({"fill": float("nan")}, ValueError, "must be finite"),
        ({"x": torch.zeros(3, 8, 8)}, ValueError, "expected a map of shape"),
        ({"x": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, TypeError, "floating-point"),
    ],
)
def test_wrong_inputs(change, error, says) -> None:
    arguments = {"x": torch.zeros(1, 3, 8, 8), "size": 16} | change
    with pytest.raises(error, match=says):
        mass.canvas(**arguments)
