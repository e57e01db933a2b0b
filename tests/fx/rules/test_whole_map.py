"""Operations of which nothing is known have the whole map as period: f(shift(x)) == shift(f(x)), bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass

X = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """A function of the user's between two strides."""

    def __init__(self, function, dense=False):
        super().__init__()
        self.function, self.dense = function, dense
        self.down, self.again = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.positions = nn.Parameter(torch.randn(1, 4, 24, 32))
        self.attention, self.recurrent = nn.MultiheadAttention(4, 2, batch_first=True), nn.LSTM(4, 4, batch_first=True)
        self.mix = nn.Linear(16, 16)
        self.line = nn.Linear(4, 4)

    def forward(self, x):
        y = self.function(self, self.down(x))
        return F.interpolate(y, scale_factor=2) if self.dense else self.again(y).mean((2, 3))


def windows(net, x):
    """Attention-like mixing in windows, shifted by half of one, with a mask that knows where the image was cut."""
    y = x.permute(0, 2, 3, 1).roll((-2, -2), (1, 2))
    y = y.view(2, 6, 4, 8, 4, 4).permute(0, 1, 3, 5, 2, 4).reshape(-1, 4, 16)
    mask = torch.zeros(6, 8)
    mask[-1], mask[:, -1] = 1, 2
    y = net.mix(y + mask.view(48, 1, 1).repeat(2, 1, 1)).view(2, 6, 8, 4, 4, 4).permute(0, 1, 4, 2, 5, 3)
    return x + y.reshape(2, 24, 32, 4).roll((2, 2), (1, 2)).permute(0, 3, 1, 2)


def attention(net, x):
    tokens = x.flatten(2).transpose(1, 2)
    return x + net.attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)


def rows(net, x):
    y = net.recurrent(x.permute(0, 2, 3, 1).reshape(-1, 32, 4))[0]
    return x * y.reshape(2, 24, 32, 4).permute(0, 3, 1, 2)


def untraceable(net, x):
    return x * (2 if x.sum() > 0 else 3)


DENSE = {
    "positions": lambda net, x: x + net.positions,
    "crop": lambda net, x: x * x[..., :4, :4].mean((2, 3), keepdim=True),
    "deviation": lambda net, x: x / x.std((2, 3), keepdim=True),
    "rows alone": lambda net, x: x * x.mean(3, keepdim=True).sigmoid(),
    "layer norm over positions": lambda net, x: F.layer_norm(x, x.shape[2:]),
    "infinities": lambda net, x: x.masked_fill(x < 0, -torch.inf).exp(),
    "functional group norm": lambda net, x: F.group_norm(x, 2),
    "resized by 3 / 2": lambda net, x: F.interpolate(F.interpolate(x, scale_factor=1.5), size=(24, 32)),
    "unfold": lambda net, x: F.unfold(x, 3, padding=1).view(2, 36, 24, 32)[:, 7:11],
    "padding read by an activation": lambda net, x: F.pad(x, (1, 1, 1, 1)).abs()[..., 1:-1, 1:-1] - x,
    "roll": lambda net, x: x * x.roll((3, 1), (2, 3)),
    "windows": windows,
    "attention": attention,
    "recurrence along rows": rows,
    "linear": lambda net, x: F.linear(x.permute(0, 2, 3, 1), net.line.weight, net.line.bias).permute(0, 3, 1, 2),
    "unbind": lambda net, x: torch.stack([part * k for k, part in enumerate(x.unbind(1))], 1),
}  # fmt: skip
POOLED = DENSE | {
    "spectrum": lambda net, x: torch.fft.fft2(x).abs(),
    "rows twice": lambda net, x: torch.cat((x, x), 2),
    "transposed attribute": lambda net, x: x.mT,
    "columns by rows": lambda net, x: x @ x.transpose(2, 3),
    "gated columns": lambda net, x: F.glu(x),
    "odd slices": lambda net, x: torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)[:, 2:6],
}


@pytest.mark.parametrize("name", POOLED)
def test_logits_stay(name):
    model = Net(POOLED[name]).eval()
    assert mass.certify(mass.convert(model, X), X, 4).identical.all()


@pytest.mark.parametrize("name", DENSE)
def test_dense_outputs_move_along(name):
    model = Net(DENSE[name], dense=True).eval()
    converted = mass.convert(model, X)
    for t in ((1, 0), (7, 13)):
        assert torch.equal(converted(X.roll(t, (2, 3))), converted(X).roll(t, (2, 3)))
    with torch.no_grad():  # at the frame's own origin it computes what it did, borders apart
        plain = nn.Sequential(nn.Identity(), Net(DENSE[name], dense=True)).eval()
        plain[1].load_state_dict(model.state_dict())
        inner = (..., slice(4, -4), slice(4, -4))
        if name not in (
            "crop",
            "deviation",
            "rows alone",
            "attention",
            "roll",
            "recurrence along rows",
            "layer norm over positions",
            "functional group norm",
        ):
            assert torch.allclose(mass.convert(model, X, origin="zero")(X)[inner], plain(X)[inner], atol=1e-4)


def test_what_cannot_be_traced_stays_whole():
    class Peeking(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Peeking(), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1)).eval()
    converted = mass.convert(model, X)
    assert mass.certify(converted, X, 4).identical.all()
    assert "1" in dict(converted.named_modules())


def test_a_network_has_one_frame():
    """Windows, masks and embeddings of all stages lie to each other as they did: one origin, read digit by digit."""

    class Stages(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
            self.p, self.q = nn.Parameter(torch.randn(1, 4, 24, 32)), nn.Parameter(torch.randn(1, 4, 12, 16))

        def forward(self, x):
            return (self.b(self.a(x) + self.p) + self.q).mean((2, 3))

    converted = mass.convert(Stages().eval(), X)
    origins = [n for n in converted.graph.nodes if str(n.target).startswith("mass_origin")]
    assert len(origins) == 2  # the first stride's, and the frame's
    assert mass.certify(converted, X, 4).identical.all()


def test_a_skip_connection_meets_what_stayed_in_the_frame():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.mix = nn.Conv2d(3, 3, 2, 2), nn.Linear(24, 24)

        def forward(self, x):
            y = self.mix(self.down(x).flatten(3).transpose(2, 3)).transpose(2, 3)  # along the columns
            return x + F.interpolate(y, scale_factor=2)

    converted = mass.convert(Skip().eval(), X)
    assert torch.equal(converted(X.roll((5, 3), (2, 3))), converted(X).roll((5, 3), (2, 3)))


class LeNet(nn.Module):
    """Its linear layer counts the positions that 'valid' convolutions leave."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.linear = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), nn.Linear(400, 10)

    def forward(self, x, scale=None):
        x = F.max_pool2d(self.b(F.max_pool2d(self.a(x), 2)), 2)
        x = self.linear(x.flatten(1))
        return x if scale is None else x * scale  # an argument that the example leaves out


class OddStages(nn.Module):
    """Positions, then strides that no longer divide the map."""

    def __init__(self):
        super().__init__()
        self.down, self.positions = nn.Conv2d(3, 4, 8, 8), nn.Parameter(torch.randn(1, 4, 7, 7))
        self.a, self.b = nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        return self.b(self.a(self.down(x) + self.positions)).mean((2, 3))


@pytest.mark.parametrize(("model", "size"), [(LeNet(), 32), (OddStages(), 56)])
def test_sizes_that_the_network_relies_on(model, size):
    x = torch.randn(2, 3, size, size)
    assert mass.certify(mass.convert(model.eval(), x), x, 6).identical.all()
    with torch.no_grad():
        assert torch.allclose(mass.convert(model, x, origin="zero")(x), model(x), atol=1e-5)


SQUARE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))


class Rows(nn.Module):
    """Queries, keys and values of a map, and a function of them."""

    def __init__(self, function, stride):
        super().__init__()
        self.function = function
        self.q, self.k, self.v = (nn.Conv2d(3, 4, 1, stride) for _ in range(3))

    def forward(self, x):
        return self.function(self.q(x), self.k(x), self.v(x))


ROWS_TWICE = {
    "a product with the transpose": lambda q, k, v: q @ q.transpose(2, 3),
    "distances of rows": lambda q, k, v: torch.cdist(q, k),
    "attention over rows": lambda q, k, v: (v, (q @ k.mT).softmax(3)),
    "columns twice": lambda q, k, v: q.mT @ k,
    "flipped": lambda q, k, v: q.flip(3),
    "turned": lambda q, k, v: torch.rot90(q, 1, (2, 3)),
}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ROWS_TWICE)
def test_on_a_square_map_axes_as_long_as_rows_and_columns_may_be_others(name, stride):
    """Moved back as rows and columns they would be certified, and be nothing that the model returns for any shift."""
    torch.manual_seed(0)
    with pytest.raises(
        mass.NotEquivariantError, match="moves otherwise than the image: under a shift by .* along axes"
    ):
        mass.convert(Rows(ROWS_TWICE[name], stride).eval(), SQUARE)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_attends_over_rows_moves_with_them(stride):
    torch.manual_seed(0)
    model = Rows(lambda q, k, v: (q @ k.mT).softmax(3) @ v, stride).double().eval()
    x = SQUARE.double()
    network = mass.convert(model, x)
    assert mass.certify(network, x)
    if stride == 1:
        assert torch.allclose(network(x), model(x))
