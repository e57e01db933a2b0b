"""Random architectures, converted, against a slow oracle that knows nothing of lattices.

All branches of a network here meet again, so that it samples one lattice, of some total origin O. What it computes is
then what the plain network, all borders circular, computes of the image moved to O, moved back: the oracle tries every
O. And f(shift(x)) == shift(f(x)), bit for bit.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass

H, W, C = 16, 32, 4


def conv(kernel=3, stride=1, dilation=1, groups=1, inputs=C):
    """Circular already, so that the plain network is the oracle's; H / stride rows."""
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(inputs, C, kernel, stride, padding, dilation, groups, padding_mode="circular")


class Slice(nn.Module):
    """A strided slice that starts anywhere."""

    def __init__(self, stride, start):
        super().__init__()
        self.stride, self.start = stride, start

    def forward(self, x):
        i, j = self.start
        return x[:, :, i :: self.stride, j :: self.stride]


class Both(nn.Module):
    """Two branches that meet again: added, multiplied, concatenated, or each in half of the channels."""

    def __init__(self, first, second, how):
        super().__init__()
        self.first, self.second, self.how = first, second, how
        self.join = conv(1, inputs=2 * C) if how == "cat" else nn.Identity()

    def forward(self, x):
        if self.how == "chunk":
            a, b = x.chunk(2, 1)
            return torch.cat((self.second(torch.cat((b, a), 1)), self.first(x)), 1)[:, 2 : 2 + C]
        a, b = self.first(x), self.second(x)
        if self.how == "cat":
            return self.join(torch.cat((a, b), 1))
        return a + b if self.how == "add" else a * b.tanh()


class Twice(nn.Module):
    """One module called twice, on two lattices where it has a stride."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(self.inner(x).relu())


class Around(nn.Module):
    """Down, something there, and up again to a skip connection."""

    def __init__(self, down, inner, factor, mode):
        super().__init__()
        self.down, self.inner, self.factor, self.mode = down, inner, factor, mode
        self.wide = nn.Conv2d(C, C * factor**2, 1)

    def forward(self, x):
        y = self.inner(self.down(x))
        y = (
            F.pixel_shuffle(self.wide(y), self.factor)
            if self.mode == "shuffle"
            else F.interpolate(y, scale_factor=self.factor)
        )
        return x + y


class Positions(nn.Module):
    """An embedding for each position: its period is the whole map."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, C, H, W))

    def forward(self, x):
        return x + self.table[:, :, : x.shape[2], : x.shape[3]]


class Windows(nn.Module):
    """Mixing in windows of 2 x 2 that begin one pixel off."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x):
        b, c, h, w = x.shape
        y = x.roll((1, 1), (2, 3)).reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 2, 4, 3, 5)
        y = self.mix(y.reshape(b, c, h // 2, w // 2, 4)).reshape(b, c, h // 2, w // 2, 2, 2)
        return y.permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, w).roll((-1, -1), (2, 3))


def downs(stride):
    """Ways to go down by a stride."""
    starts = st.tuples(st.integers(0, stride - 1), st.integers(0, stride - 1))
    plain = st.sampled_from([lambda: conv(3, stride), lambda: conv(1, stride), lambda: conv(3, stride, groups=2),
                             lambda: nn.AvgPool2d(stride), lambda: nn.MaxPool2d(stride)])  # fmt: skip
    slices = starts.map(lambda s: lambda: nn.Sequential(conv(3, dilation=2), Slice(stride, s)))
    halves = [lambda: nn.Sequential(conv(3, 2), nn.ReLU(), nn.MaxPool2d(2)), lambda: Twice(conv(3, 2))]
    return st.one_of(plain, slices, *([st.sampled_from(halves)] if stride == 4 else []))


def sames():
    """Blocks that commute with all shifts."""
    dilations = st.integers(1, 2)
    return st.one_of(
        dilations.map(lambda d: lambda: nn.Sequential(conv(dilation=d), nn.SiLU())),
        dilations.map(lambda d: lambda: Twice(conv(dilation=d))),
        st.sampled_from(["add", "multiply", "cat", "chunk"]).map(lambda how: lambda: Both(conv(), conv(1), how)),
    )


@st.composite
def chains(draw, left):
    """Down by a stride of at most `left`, step by step; embeddings and windows between the steps."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["down", "both", "whole"]))
        stride = draw(st.sampled_from([s for s in (1, 2, 4) if s <= left]))
        if kind == "whole" or stride == 1:
            made.append(draw(st.one_of(sames(), st.sampled_from([Positions, Windows]))))
            continue
        first, second, how = (
            draw(downs(stride)),
            draw(downs(stride)),
            draw(st.sampled_from(["add", "multiply", "cat", "chunk"])),
        )
        made.append(first if kind == "down" else lambda f=first, g=second, h=how: Both(f(), g(), h))
        left //= stride
    return lambda: nn.Sequential(*(build() for build in made))


@st.composite
def around(draw, left):
    """Down and up again, in it the same once more, as long as the map can be divided."""
    factor = draw(st.sampled_from([s for s in (2, 4) if s <= left]))
    down, mode = draw(downs(factor)), draw(st.sampled_from(["nearest", "shuffle"]))
    deeper = left // factor >= 2 and draw(st.booleans())
    inner = draw(around(left // factor)) if deeper else draw(st.one_of(sames(), st.sampled_from([Positions, Windows])))
    before, after = draw(sames()), draw(sames())
    return lambda: nn.Sequential(before(), Around(down(), inner(), factor, mode), after())


@st.composite
def networks(draw):
    """A chain of strides, or a path down and up; total stride at most 8."""
    body, first = draw(st.one_of(chains(8), around(8))), draw(sames())
    torch.manual_seed(draw(st.integers(0, 99)))
    return nn.Sequential(conv(3, inputs=3), first(), body()).eval()


def oracle(model, x):
    """Per origin O: what the plain network makes of the image moved to O, moved back along its lattice, (H * W, …)."""
    places = [(i, j) for i in range(H) for j in range(W)]
    y = model(torch.cat([x.roll((-i, -j), (2, 3)) for i, j in places]))
    r = H // y.shape[2], W // y.shape[3]
    return torch.stack([out.roll((i // r[0], j // r[1]), (1, 2)) for out, (i, j) in zip(y, places, strict=True)])


@settings(max_examples=25)
@given(model=networks(), t=st.tuples(st.integers(0, H - 1), st.integers(0, W - 1)))
def test_random_networks(model, t):
    x = torch.randn(1, 3, H, W)
    converted = mass.convert(model, x)
    assert mass.certify(converted, x, [t, (1, 1)]).identical.all()
    with torch.no_grad():
        y, candidates = converted(x), oracle(model, x)
        distance = (candidates - y).abs().flatten(1).amax(1) / y.abs().max()
    assert distance.min() < 1e-4, f"no origin gives what was computed; the nearest is off by {distance.min():.2g}"


@pytest.mark.parametrize("start", [(0, 0), (1, 0), (1, 1)])
def test_the_oracle_finds_what_is_wrong(start):
    """A network whose branches sample different grids is no network of one origin."""
    x = torch.randn(1, 3, H, W)
    right, wrong = (nn.Sequential(conv(inputs=3), Both(Slice(2, (0, 0)), Slice(2, s), "add")) for s in ((0, 0), start))
    wrong.load_state_dict(right.state_dict())
    with torch.no_grad():
        distance = (oracle(right, x) - wrong(x)).abs().flatten(1).amax(1)
    assert (distance.min() < 1e-5) == (start == (0, 0))
