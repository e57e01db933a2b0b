"""A converted network computes what the original computes, borders and origins apart: regressions of a hostile review.

`convert(model, x, origin="zero")` is compared with the model itself where all its borders wrap already.
"""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass

X = torch.randn(2, 3, 58, 90, generator=torch.Generator().manual_seed(0))  # no multiple of a vector's length


def conv(i, o, k=3, s=1):
    """A convolution whose border wraps already."""
    return nn.Conv2d(i, o, k, s, k // 2, padding_mode="circular")


class Net(nn.Module):
    """Two circular convolutions around a function of the user's."""

    def __init__(self, function, act=None):
        super().__init__()
        self.function, self.act = function, act
        self.first, self.second = conv(3, 6), conv(6, 6)

    def forward(self, x):
        return self.function(self, self.first(x))


def in_place_module(net, x):
    y = net.act(x)
    return net.second(y) + x


def in_place_function(net, x):
    y = F.silu(x, inplace=True)
    return net.second(y) + x


def in_place_method(net, x):
    g = net.second(x)
    g.sigmoid_()
    return x * g


def identity_pool(net, x):
    y = F.adaptive_avg_pool2d(x, (58, 90))
    y.relu_()
    return x + y


def written_view(net, x):
    half = x[:, :2]
    half.mul_(3)
    return x + net.second(x)


def written_chunk(net, x):
    first, _ = x.chunk(2, 1)
    first.relu_()
    return net.second(x)


def written_out(net, x):
    torch.mul(x, 2, out=x)
    return net.second(x)


@pytest.mark.parametrize(
    "function",
    [in_place_module, in_place_function, in_place_method, identity_pool, written_view, written_chunk],
    ids=lambda f: f.__name__,
)
def test_operations_in_place(function):
    model = Net(function, nn.SiLU(inplace=True)).eval()
    with torch.no_grad():
        assert torch.allclose(mass.convert(model, X, origin="zero")(X), model(X), atol=1e-5)
        assert mass.certify(mass.convert(model, X), X, 4).identical.all()


def test_what_was_shifted_is_shifted_again_after_a_write():
    class Strided(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(3, 4, 2, 2)

        def forward(self, x):
            x = x + 0
            a = self.a(x)
            x[:, :2].mul_(3)
            return a + self.b(x)

    model = Strided().eval()
    with torch.no_grad():
        assert torch.allclose(mass.convert(model, X, origin="zero")(X), model(X), atol=1e-5)


OPERATIONS = {
    "mean over channels": lambda net, x: net.second(x) - x.mean(1, keepdim=True),
    "sum over channels": lambda net, x: x / x.abs().sum(1, keepdim=True),
    "sum over positions": lambda net, x: x.sum((2, 3)),
    "hand-written layer norm": lambda net, x: (x - x.mean(1, True)) / ((x - x.mean(1, True)).pow(2).mean(1, True) + 1e-5).sqrt(),
    "softmax": lambda net, x: x.softmax(1) + F.log_softmax(x, 1),
    "glu": lambda net, x: F.glu(x, 1),
    "power": lambda net, x: x.abs().pow(1.7),
    "generalised mean": lambda net, x: x.clamp(min=1e-6).pow(3.1).mean((2, 3)).pow(1 / 3.1),
    "expand_as": lambda net, x: x * F.adaptive_avg_pool2d(x, 1).sigmoid().expand_as(x),
    "pooled branch": lambda net, x: torch.cat((x, F.interpolate(F.adaptive_avg_pool2d(x, 1), size=(58, 90))), 1),
    "flattened mean": lambda net, x: x.flatten(2).mean(2),
    "comparison": lambda net, x: (x > 0).float() * x,
    "to another tensor's type": lambda net, x: x * torch.ones(6, 1, 1).to(x),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(1, 3, 58, 90), (2, 3, 14, 14), (1, 3, 33, 47)])
def test_operations_are_exact_at_odd_sizes(name, shape):
    x = torch.randn(shape)
    function = OPERATIONS[name]
    if name == "pooled branch":
        function = lambda net, y: torch.cat((y, F.interpolate(F.adaptive_avg_pool2d(y, 1), size=shape[2:])), 1)
    model = Net(function).eval()
    with torch.no_grad():
        assert torch.allclose(mass.convert(model, x, origin="zero")(x), model(x), rtol=1e-4, atol=1e-5)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        certificate = mass.certify(mass.convert(model, x), x, 6)
        assert certificate.identical.all(), (threads, certificate)


class Tokens(nn.Module):
    """Flattened positions that become another map."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = conv(3, 8), nn.Linear(8, 8)

    def forward(self, x):
        y = self.linear(self.conv(x).flatten(2).transpose(1, 2))
        return y.transpose(1, 2).view(x.shape[0], 8, 90, 58)


class Leaf(nn.Module):
    """Tells odd rows from even ones, or columns from each other: commutes with no odd shift."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self, x):
        if self.rows:
            return x * (1 + 0.1 * (torch.arange(x.shape[2]) % 2).to(x.dtype))[:, None]
        return x + torch.arange(x.shape[3]).to(x.dtype)


mass.mark_leaf(Leaf)


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        (Tokens, (2, 3, 58, 90), "positions that were flattened leave the network as axes"),
        (lambda: nn.Sequential(Leaf(True), nn.Conv2d(3, 4, 3, 2, 1)), (1, 3, 16, 16), "after a circular shift"),
        (lambda: nn.Sequential(Leaf(False), nn.Conv2d(3, 4, 3, 1, 1)), (1, 3, 16, 16), "after a circular shift"),
    ],
)
def test_refused_rather_than_wrong(build, shape, message):
    with pytest.raises(mass.NotEquivariantError, match=message):
        mass.convert(build().eval(), torch.randn(shape))


def test_periods_that_follow_the_size():
    """A flatten has the whole map as its period, adaptive pooling a cell, at whatever size they meet later."""
    last = lambda x: x.flatten(2)[..., :5].mean(2)
    model = mass.convert(Net(lambda net, x: last(net.second(x))).eval(), torch.randn(1, 3, 32, 32))
    cells = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5)).eval()
    pooled = mass.convert(cells, torch.randn(1, 3, 8, 8))
    for size in (16, 32, 48):
        x = torch.randn(2, 3, size, size)
        assert mass.certify(model, x, 5).identical.all()
        assert mass.certify(pooled, x, 5).identical.all()
        assert torch.allclose(
            mass.convert(cells, torch.randn(1, 3, 8, 8), origin="zero")(x).shape[1] * torch.ones(1), torch.tensor(5.0)
        )
    with pytest.raises(ValueError, match="cannot be divided into 4 cells"):
        pooled(torch.randn(1, 3, 18, 16))


def test_digits_of_coprime_periods_are_not_shared():
    class Coprime(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(2, 2, 1, 6), conv(2, 2, 1, 2)

        def forward(self, x):
            x = x[:, :2]
            d = F.interpolate(self.b(F.max_pool2d(x, 6, 4, 2)), scale_factor=4, mode="bicubic")[:, :, ::3, ::3]
            return self.a(x) * d

    x = torch.randn(1, 3, 48, 48)
    try:
        converted = mass.convert(Coprime().eval(), x)
    except mass.NotEquivariantError as refusal:
        assert "cannot agree" in str(refusal) or "strides" in str(refusal)
    else:
        assert mass.certify(converted, x, 6).max_difference.max() < 1e-5


def test_half_precision_normalisation_does_not_overflow():
    norm = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)).eval()
    norm[0].weight.data.mul_(500)
    expected, found = norm(X), mass.convert(norm, X).half()(X.half())
    assert torch.allclose(found.float(), expected, atol=0.02)


def test_the_state_dict_is_the_original_s():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.late, self.early = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(3, 4, 3, 1, 1)  # called in another order
            self.tied = self.late
            self.w = nn.Parameter(torch.ones(1))
            self.v = self.w
            self.plain = torch.rand(4, 1, 1)  # neither parameter nor buffer
            self.norm = nn.InstanceNorm2d(4, track_running_stats=True)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return self.norm(self.norm(self.late(self.early(x)) * self.w * self.plain))

    model = Odd().eval()
    converted = mass.convert(model, X)
    pickled = pickle.loads(pickle.dumps(converted))
    for candidate in (converted, copy.deepcopy(converted), pickled, copy.deepcopy(pickled)):
        assert list(candidate.state_dict()) == list(model.state_dict())
        assert [n for n, _ in candidate.named_parameters()] == [n for n, _ in model.named_parameters()]
        candidate.load_state_dict(model.state_dict())
        assert candidate.total_stride == (1, 1)
        assert candidate.late is candidate.tied and candidate.v is candidate.w
    stepped = mass.convert(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1)), X)
    assert copy.deepcopy(stepped).total_stride == (2, 2)


def test_dropout_that_is_always_on_stays_on():
    model = Net(lambda net, x: F.dropout(x, 0.5)).eval()
    assert (mass.convert(model, X, verify=False)(X) == 0).float().mean() > 0.3


def test_casts_in_forward():
    model = Net(lambda net, x: net.second(x.float()).mean((2, 3))).eval()
    assert mass.certify(mass.convert(model, X), X, 4).identical.all()


def test_masks_and_symmetrise_with_two_inputs():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x, mask, y):
            return self.o(F.interpolate(self.a(x * mask) + self.b(y), scale_factor=2))

    x, mask, y = torch.ones(2, 3, 16, 24), torch.rand(1, 1, 16, 24) > 0.3, torch.randn(2, 3, 16, 24)
    for symmetrise in (False, True):
        model = mass.convert(Masked().eval(), (x, mask, y), symmetrise=symmetrise)
        out = model(x, mask, y)
        assert out.std((2, 3)).min() > 0.01  # the constant image must not flatten what the noise shows
        t = (5, 7)
        moved = model(*(v.roll(t, (2, 3)) for v in (x, mask, y)))
        assert torch.equal(moved, out.roll(t, (2, 3)))


def test_activations_compile():
    model = mass.convert(nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1)).eval(), X)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.allclose(compiled(X), model(X), atol=1e-6)


def test_batch_norm_with_an_activation_inside():
    class NormAct(nn.BatchNorm2d):
        """timm's kind: it reads self.training in forward, and ends in an activation."""

        def __init__(self, channels):
            super().__init__(channels)
            self.act = nn.SiLU()

        def forward(self, x):
            if self.training and self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            return self.act(
                F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, 1e-5)
            )

    model = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), NormAct(6), nn.AdaptiveAvgPool2d(1)).eval()
    assert mass.certify(mass.convert(model, X), X).identical.all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mass.shift(X, [1, 2]), TypeError, "use torch.tensor"),
        (lambda: mass.select_origin(X, 2, source=X[:1]), ValueError, "must hold the images of x"),
        (lambda: mass.select_origin(X, 2, source=X, source_origin=torch.zeros(2).long()), ValueError, "source_origin must"),
        (lambda: mass.convert(mass.convert(nn.Conv2d(3, 4, 1), X), X), ValueError, "was converted before"),
        (lambda: mass.convert(Net(lambda net, x: x.mean((2, 3))), (X, X)), mass.NotEquivariantError, "example input"),
        (lambda: mass.certify(nn.Identity(), X, shifts=-1), ValueError, "shifts must be at least 1, got -1"),
        (lambda: mass.certify(nn.Identity(), X, shifts=[3, 4]), TypeError, "pairs"),
        (lambda: mass.certify(lambda x: x, X), TypeError, "torch.nn.Module"),
    ],
)  # fmt: skip
def test_wrong_inputs(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_is_rounding_alone_is_said_to_be():
    """A constant map less its mean is rounding, and a normalisation makes it hundreds of times as large: nothing can be compared there."""

    class Constant(nn.Module):
        def forward(self, x):
            return x * 0 + 1e3

    model = nn.Sequential(conv(3, 6), Constant(), conv(6, 6), nn.InstanceNorm2d(6)).eval()
    with pytest.raises(mass.NotEquivariantError, match="may be rounding, .* for which that map is not constant"):
        mass.convert(model, X)
