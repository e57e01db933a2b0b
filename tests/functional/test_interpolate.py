"""Going up: every way of enlarging a map, against a slow obvious reference, and f(shift(x)) == shift(f(x)) in bits."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass
from mass.functional.conv_transpose import circular_conv_transpose2d
from mass.functional.interpolate import downsample, upsample
from mass.functional.origin.symmetrise import symmetrise
from mass.functional.pooling import circular_max_pool_indices, circular_max_unpool


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def moved_along(model, x, t=(5, 7)):
    with torch.no_grad():
        return torch.equal(model(x.roll(t, (2, 3))), model(x).roll(t, (2, 3)))


SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))


def slow_conv_transpose(x, weight, bias, stride, padding, groups, dilation):
    """y[m] += x[n] w[k] wherever s n + d k - p = m, modulo the size; one product at a time."""
    batch, channels, height, width = x.shape
    y = torch.zeros(batch, weight.shape[1] * groups, height * stride[0], width * stride[1], dtype=x.dtype)
    for n, m, k, l in itertools.product(range(height), range(width), *map(range, weight.shape[2:])):
        i = (stride[0] * n + dilation[0] * k - padding[0]) % y.shape[2]
        j = (stride[1] * m + dilation[1] * l - padding[1]) % y.shape[3]
        for g in range(groups):
            a, b = slice(g * channels // groups, (g + 1) * channels // groups), weight.shape[1]
            y[:, g * b : (g + 1) * b, i, j] += x[:, a, n, m] @ weight[a, :, k, l]
    return y if bias is None else y + bias.view(-1, 1, 1)


@settings(max_examples=60)
@given(
    size=SIZES,
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_transposed_convolution(size, kernel, stride, padding, dilation, groups, bias):
    x = noise(2, 4, *size, dtype=torch.float64)
    weight = noise(4, 3, *kernel, seed=1, dtype=torch.float64)
    b = noise(3 * groups, seed=2, dtype=torch.float64) if bias else None
    found = circular_conv_transpose2d(x, weight, b, stride, padding, groups, dilation)
    expected = slow_conv_transpose(x, weight, b, stride, padding, groups, dilation)
    assert torch.allclose(found, expected, atol=1e-12)
    x, weight, b = x.float()[:1], weight.float(), None if b is None else b.float()
    t = (size[0] // 2, size[1] - 1)
    moved = circular_conv_transpose2d(x.roll(t, (2, 3)), weight, b, stride, padding, groups, dilation)
    by = t[0] * stride[0], t[1] * stride[1]
    assert torch.equal(
        moved, circular_conv_transpose2d(x, weight, b, stride, padding, groups, dilation).roll(by, (2, 3))
    )


@pytest.mark.parametrize(
    ("k", "s", "p", "op", "d"), [(4, 2, 1, 0, 1), (2, 2, 0, 0, 1), (3, 2, 1, 1, 1), (8, 4, 2, 0, 1), (3, 2, 2, 1, 2)]
)
def test_transposed_convolution_is_the_plain_one_away_from_the_border(k, s, p, op, d):
    plain = nn.ConvTranspose2d(4, 6, k, s, p, op, groups=2, dilation=d)
    x = noise(1, 4, 12, 12)
    inner = slice(4 * s, 8 * s)
    circular = circular_conv_transpose2d(x, plain.weight, plain.bias, (s, s), (p, p), 2, (d, d))
    assert circular.shape == plain(x).shape
    assert torch.allclose(circular[..., inner, inner], plain(x)[..., inner, inner], atol=1e-5)


def test_transposed_convolution_learns():
    layer = nn.Sequential(nn.Conv2d(2, 2, 2, 2), nn.ConvTranspose2d(2, 2, 4, 2, 1))
    converted = mass.convert(layer, noise(1, 2, 8, 8))
    converted(noise(1, 2, 8, 8)).square().sum().backward()
    assert converted.get_submodule("1").weight.grad.abs().min() > 0


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


class Shuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(12, 16, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.down, self.up = nn.PixelUnshuffle(2), nn.PixelShuffle(2)

    def forward(self, x):
        x = self.up(self.a(self.down(x)))
        return x + F.pixel_shuffle(F.pixel_unshuffle(x, 4), 4) + F.interpolate(self.b(x), scale_factor=2)


class ToSize(nn.Module):
    """Sizes that follow from other maps, from the input, and from arithmetic."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)

    def forward(self, x):
        height, width = x.shape[2:]
        assert height % 4 == 0 and width % 4 == 0
        y = self.a(x)
        z = self.b(y)
        pooled = F.interpolate(F.adaptive_avg_pool2d(z, 1), size=z.shape[-2:], mode="bilinear")
        bins = F.interpolate(F.adaptive_avg_pool2d(z, 2), z.shape[2:], mode="bilinear", align_corners=True)
        z = F.interpolate(z + pooled * bins, size=y.shape[-2:], mode="bicubic") * y
        half = F.interpolate(x, size=(height // 2, width // 2), mode="bilinear")  # down by interpolation
        up = [F.interpolate(z * half[:, :1], size=[s for s in x.shape[2:]], mode="bilinear", align_corners=True)]
        up.append(F.interpolate(F.interpolate(z, scale_factor=0.5), (x.shape[2], x.shape[3])))
        return torch.stack(up).sum(dim=0)


class Attention(nn.Module):
    """Attention over positions, with an embedding of each: the period is the whole map."""

    def __init__(self, tokens=24):
        super().__init__()
        self.a, self.q, self.k = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 2, 2)
        self.embedding, self.linear = nn.Parameter(noise(1, tokens, 6)), nn.Linear(4, 6)

    def forward(self, x):
        y = self.a(x)
        batch, _, height, width = y.shape
        q, k = self.q(y).flatten(2).transpose(1, 2), self.k(y).flatten(2)  # two lattices
        tokens = self.linear((q @ k).softmax(-1) @ k.transpose(1, 2)) + self.embedding
        y = y + tokens.transpose(1, 2).reshape(batch, 6, height, width)
        return F.interpolate(y, scale_factor=2)


MODELS = {
    "shuffle": (Shuffle, (1, 3, 16, 24)),
    "sizes": (ToSize, (1, 3, 16, 24)),
    "attention": (Attention, (1, 3, 8, 12)),
    "attention on other axes": (lambda: nn.Sequential(nn.Conv2d(3, 4, 2, 2), Tokens(), nn.PixelShuffle(2)), (2, 3, 12, 16)),
}  # fmt: skip


class Tokens(nn.Module):
    """Channels last, flattened and cut into windows, as in Swin."""

    def forward(self, x):
        y = x.permute(0, 2, 3, 1)
        b, h, w, c = y.shape
        windows = y.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        windows = windows.softmax(1) * torch.arange(1.0, 5.0).to(windows)[:, None]
        y = windows.reshape(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return y.permute(0, 3, 1, 2) + x


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    build, shape = MODELS[name]
    x = noise(*shape)
    model = build().eval()
    converted = mass.convert(model, x)
    assert converted(x).shape == model(x).shape
    for dtype in (torch.float32, torch.bfloat16):
        certificate = mass.certify(converted.to(dtype), x.to(dtype), 6)
        assert certificate.identical.all(), certificate


@pytest.mark.parametrize("build", [SegNet, ToSize, Shuffle])
def test_gradients_and_compilation(build):
    x = noise(1, 3, 16, 24)
    converted = mass.convert(build(), x)
    converted(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in converted.parameters())
    with torch.no_grad():
        compiled = torch.compile(converted, fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(x), converted(x), atol=1e-5)


def test_sizes_stay_symbols():
    converted = mass.convert(ToSize().eval(), noise(1, 3, 16, 24))
    for size in ((16, 24), (24, 16), (32, 40)):
        x = noise(2, 3, *size)
        assert converted(x).shape == (2, 6, *size)
        assert mass.certify(converted, x, 4).identical.all()
    with pytest.raises(ValueError, match="would decide otherwise for this input|multiple of the total stride"):
        converted(noise(1, 3, 18, 24))


def test_a_fixed_factor_on_a_size_that_follows_is_told():
    """Four cells of 4 x 6 pixels, enlarged by 4 x 6: at another size that is not the way back."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveMaxPool2d(4), nn.Upsample(scale_factor=(4, 6))).eval()
    converted = mass.convert(model, noise(1, 3, 16, 24))
    assert mass.certify(converted, noise(1, 3, 16, 24), 4).identical.all()
    with pytest.raises(ValueError, match="convert it with an example of this size"):
        converted(noise(1, 3, 32, 48))


def test_decisions_survive_pickling():
    import copy
    import pickle

    x = noise(1, 3, 16, 24)
    converted = mass.convert(ToSize().eval(), x)
    for again in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        assert torch.equal(again(x), converted(x))
        with pytest.raises(ValueError, match="would decide otherwise for this input|multiple of the total stride"):
            again(noise(1, 3, 18, 24))


class Net(nn.Module):
    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(modules)
        self.first = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return self.function(self, self.first(x))


def other_unpool(net, x):
    y, i = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(y, i, 4, 4)


def arithmetic(net, x):
    y, i = F.max_pool2d(x, 2, return_indices=True)
    return y + i


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda net, x: F.max_pool2d(x, 2, return_indices=True), "returns indices to the outside"),
        (other_unpool, "use the arguments of the pooling"),
        (arithmetic, "indices of a max pooling"),
        (lambda net, x: F.interpolate(x, (12, 18)), "not by an integer factor"),
        (lambda net, x: F.adaptive_avg_pool2d(x, (5, 3)), "windows of unequal size; an input of 20 x 24 would do"),
        (lambda net, x: x.flatten(2).reshape(1, 4, 12, 8), "leave the network as axes"),
        (lambda net, x: F.conv2d(x.flatten(2).reshape(1, 4, 12, 8), torch.ones(4, 4, 1, 1)), "leave the network as axes"),
        (lambda net, x: x * 2 if x.sum() > 0 else x, "could not be traced"),
    ],
)  # fmt: skip
def test_refusals(function, message):
    with pytest.raises(mass.NotEquivariantError, match=message):
        mass.convert(Net(function).eval(), noise(1, 3, 16, 24))


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


class Dense(nn.Module):
    """A decoder with a skip and pyramid bins of periods that are no multiples of each other."""

    def __init__(self):
        super().__init__()
        self.a, self.up = nn.Conv2d(3, 6, 3, 2, 1), nn.ConvTranspose2d(6, 4, 4, 2, 1)
        self.mix = nn.Conv2d(18, 6, 3, 1, 1)

    def forward(self, x):
        y = self.a(x).relu()
        bins = [F.interpolate(F.adaptive_max_pool2d(y, n), y.shape[2:]) for n in (2, 3)]
        return self.up(self.mix(torch.cat([y, *bins], 1)))


@pytest.mark.parametrize("period", [(1, 1), (3, 1), (2, 3), (4, 6), (12, 6)])
def test_symmetric_inputs(period):
    """Equal up to one symmetry of the input, which the certificate names; with symmetrise, equal."""
    size = (24, 36)
    x = noise(1, 3, *period).repeat(1, 1, size[0] // period[0], size[1] // period[1])
    model = Dense().eval()
    certificate = mass.certify(mass.convert(model, x), x, 12)
    assert certificate, certificate
    if not certificate.identical.all():
        g = certificate.symmetry[0]
        assert g is not None and torch.equal(x.roll(g, (2, 3)), x) and math.gcd(*g) != 0
    certificate = mass.certify(mass.convert(model, x, symmetrise=True), x, 12)
    assert certificate.identical.all(), certificate


def test_symmetry_of_coarser_outputs():
    """A map at a quarter of the resolution moves by a symmetry, too: on its own lattice."""
    x = noise(1, 3, 3, 3).repeat(1, 1, 8, 8)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 2, 2), nn.Conv2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)
    ).eval()
    certificate = mass.certify(mass.convert(model, x), x, 24)
    assert certificate, certificate


@pytest.mark.parametrize("mode", ["nearest-exact", "area", "linear", "foo"])
@pytest.mark.parametrize("function", [upsample, downsample])
def test_other_modes_are_refused(function, mode):
    with pytest.raises(ValueError, match=f"interpolation is nearest, bilinear or bicubic, not '{mode}'"):
        function(torch.rand(1, 1, 4, 4), (2, 2), mode)


def test_symmetrise_joins_what_a_symmetry_joins_and_nothing_else():
    """Each channel and orbit by itself: large and infinite values elsewhere take no digit away."""
    y, alone = torch.rand(1, 2, 8, 8), torch.rand(1, 1, 8, 8)
    y[0, 0, 0, 0], y[0, 0, 1, 1] = -torch.inf, 1e30
    assert torch.equal(symmetrise(y, alone), y)
    periodic = torch.rand(1, 1, 4, 8).repeat(1, 1, 2, 1)
    mean = symmetrise(y, periodic)
    assert mean[0, 0, 0, 0] == mean[0, 0, 4, 0] == -torch.inf and mean.isinf().sum() == 2
    assert torch.equal(mean[0, 1], ((y + y.roll(4, 2)) / 2)[0, 1])
    y[0, 1, 2, 3] = torch.nan
    assert symmetrise(y, periodic).isnan().nonzero().tolist() == [[0, 1, 2, 3], [0, 1, 6, 3]]
