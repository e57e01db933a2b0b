"""Interpolation is PyTorch's on a torus."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass
from mass.functional.interpolate import downsample, upsample


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=40)
@given(
    size=SIZES,
    factor=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    mode=st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
def test_interpolation_is_torch_s_on_a_torus(size, factor, mode):
    """Nine copies of the map, enlarged by torch: the one in the middle has seen no border."""
    x = noise(1, 2, *size, dtype=torch.float64)
    tiled = F.interpolate(x.repeat(1, 1, 7, 7), scale_factor=factor, mode=mode)
    h, w = size[0] * factor[0], size[1] * factor[1]
    assert torch.allclose(upsample(x, factor, mode), tiled[..., 3 * h : 4 * h, 3 * w : 4 * w], atol=1e-12)
    big = noise(1, 2, h, w, dtype=torch.float64)
    tiled = F.interpolate(big.repeat(1, 1, 7, 7), (7 * size[0], 7 * size[1]), mode=mode)
    expected = tiled[..., 3 * size[0] : 4 * size[0], 3 * size[1] : 4 * size[1]]
    assert torch.allclose(downsample(big, factor, mode), expected, atol=1e-12)
    y, t = noise(1, 2, *size), (1, 2)
    by = t[0] * factor[0], t[1] * factor[1]
    assert torch.equal(upsample(y.roll(t, (2, 3)), factor, mode), upsample(y, factor, mode).roll(by, (2, 3)))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_modules_and_functions_keep_their_mode(mode):
    x, options = noise(1, 3, 8, 12), {"mode": mode, "align_corners": None if mode == "nearest" else True}
    down = nn.Conv2d(3, 3, 2, 2)
    for up in (nn.Upsample(scale_factor=2, **options), Call(lambda y: F.interpolate(y, (8, 12), **options))):
        zero = mass.convert(nn.Sequential(down, up).eval(), x, origin="zero")
        assert torch.allclose(zero(x), upsample(down(x), (2, 2), mode), atol=1e-6)


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("mode", ["nearest-exact", "area", "linear", "foo"])
@pytest.mark.parametrize("function", [upsample, downsample])
def test_other_modes_are_refused(function, mode):
    with pytest.raises(ValueError, match=f"interpolation is nearest, bilinear or bicubic, not '{mode}'"):
        function(torch.rand(1, 1, 4, 4), (2, 2), mode)
