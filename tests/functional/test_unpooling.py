"""Max pooling with indices and back: against a loop, as PyTorch's away from borders, and in whole networks."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass
from mass.functional.pooling import circular_max_pool_indices, circular_max_unpool


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=40)
@given(
    size=SIZES,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 9),
    levels=st.sampled_from([2, 1000]),
)
def test_max_pooling_and_back(size, kernel, stride, seed, levels):
    """Against a loop; ties (two levels) go to the first of a window, and of two windows the later one writes last."""
    height, width = size[0] * stride[0], size[1] * stride[1]
    x = (noise(1, 2, height, width, seed=seed) * levels).round() / levels
    y, index = circular_max_pool_indices(x, kernel, stride)
    for c, n, m in itertools.product(range(2), *map(range, size)):
        window = [
            x[0, c, (n * stride[0] + i) % height, (m * stride[1] + j) % width].item()
            for i in range(kernel[0])
            for j in range(kernel[1])
        ]
        assert y[0, c, n, m] == max(window) and index[0, c, n, m] == window.index(max(window))
    out = circular_max_unpool(y, index, kernel, stride)
    assert set(out.unique().tolist()) <= {0.0, *y.unique().tolist()}
    for c, n, m in itertools.product(range(2), *map(range, size)):
        i, j = divmod(index[0, c, n, m].item(), kernel[1])
        assert out[0, c, (n * stride[0] + i) % height, (m * stride[1] + j) % width] == y[0, c, n, m]
    by = stride[0], stride[1]
    again = circular_max_unpool(*(v.roll((1, 1), (2, 3)) for v in (y.neg(), index)), kernel, stride)
    assert torch.equal(again, circular_max_unpool(y.neg(), index, kernel, stride).roll(by, (2, 3)))


def test_unpooling_is_torch_s_away_from_the_border():
    x = noise(2, 3, 16, 16)
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (2, 3, 0)):
        side = 16 // stride * stride
        x = x[..., :side, :side]
        y, index = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
        plain = F.max_unpool2d(y.clone(), index, kernel, stride, padding, output_size=x.shape)
        pair = (kernel, kernel), (stride, stride), (padding, padding)
        found = circular_max_unpool(*circular_max_pool_indices(x, *pair), *pair)
        assert torch.equal(found[..., 3:-3, 3:-3], plain[..., 3:-3, 3:-3])


class SegNet(nn.Module):
    """One pooling and one unpooling module, used twice each (Badrinarayanan et al., 2017)."""

    def __init__(self, kernel=2, stride=2, functional=False):
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(kernel, stride, return_indices=True), nn.MaxUnpool2d(kernel, stride)
        self.down = nn.ModuleList([nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 12, 3, 1, 1), nn.Conv2d(12, 12, 3, 1, 1)])
        self.up = nn.ModuleList([nn.Conv2d(12, 8, 3, 1, 1), nn.Conv2d(8, 4, 3, 1, 1)])
        self.functional = functional

    def forward(self, x):
        x, first = self.pool(self.down[0](x).relu())
        before = x.size()
        if self.functional:
            x, second = F.max_pool2d(self.down[1](x).relu(), 2, 2, return_indices=True)
            x = F.max_unpool2d(self.down[2](x), second, 2, 2, output_size=before[2:])
        else:
            x, second = self.pool(self.down[1](x).relu())
            x = self.unpool(self.down[2](x), second, output_size=before[2:])
        return self.up[1](self.unpool(self.up[0](x), first))


@pytest.mark.parametrize(
    ("size", "window", "functional"),
    [((16, 24), (2, 2), False), ((16, 24), (2, 2), True), ((9, 27), (3, 3), False)],
)
def test_segnet(size, window, functional):
    model = SegNet(*window, functional).eval()
    x = noise(2, 3, *size)
    converted = mass.convert(model, x)
    assert converted(x).shape == model(x).shape
    for dtype in (torch.float32, torch.bfloat16):
        assert mass.certify(converted.to(dtype), x.to(dtype), 6).identical.all()
    if window == (2, 2):
        x, far = noise(1, 3, 48, 48), slice(20, -20)
        zero = mass.convert(model.to(torch.float32), x, origin="zero")
        assert torch.allclose(zero(x)[..., far, far], model(x)[..., far, far], atol=1e-5)


def test_gradients_and_compilation():
    x = noise(1, 3, 16, 24)
    converted = mass.convert(SegNet(), x)
    converted(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in converted.parameters())
    with torch.no_grad():
        compiled = torch.compile(converted, fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(x), converted(x), atol=1e-5)


def test_the_layers_of_figure_4():
    pool, unpool = mass.MassMaxPool2d(3, 2, 1), mass.MassMaxUnpool2d(3, 2, 1)
    x = noise(2, 3, 12, 20)
    y, index, origin = pool.with_indices(x)
    assert torch.equal(y, pool(x)) and torch.equal(origin, mass.select_origin(x, 2))
    out = unpool(y, index, origin)
    assert out.shape == x.shape and torch.equal(out[out != 0], x[out != 0])  # every maximum is where it was
    for t in ((1, 0), (3, 5), (7, 19)):
        assert torch.equal(unpool(*pool.with_indices(x.roll(t, (2, 3)))), out.roll(t, (2, 3)))
    shared = pool.with_indices(x, origin)
    assert torch.equal(shared[0], y)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mass.MassMaxUnpool2d(0), ValueError, "kernel_size must be at least 1"),
        (lambda: mass.MassMaxUnpool2d(2)(noise(1, 1, 2, 2), noise(1, 1, 2, 2), torch.zeros(1, 2).long()), ValueError, "index must be int64"),
        (lambda: mass.MassMaxUnpool2d(2)(noise(1, 1, 2, 2), torch.zeros(1, 1, 2, 3).long(), torch.zeros(1, 2).long()), ValueError, "index must be int64 of shape"),
    ],
)  # fmt: skip
def test_wrong_inputs(call, error, message):
    with pytest.raises(error, match=message):
        call()
