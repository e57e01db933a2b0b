"""Networks that go up again: sizes that follow, shuffles, tokens; they move along in bits, or are refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


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


@pytest.mark.parametrize("build", [ToSize, Shuffle])
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
