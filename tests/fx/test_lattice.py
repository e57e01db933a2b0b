"""Lattice inference: which operations share an origin, on random architectures and on the known traps."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass
from mass.fx.infer import infer
from mass.fx.lattice import Digit, Joins, rise, stride, unify
from mass.fx.tracing.trace import trace


def groups(model, x):
    plan = infer(trace(model, x))
    assert not plan.refusals, plan.refusals[0][1]
    return len(plan.digits), len({digit.find()[0] for digit in plan.digits.values()})


@pytest.mark.parametrize(
    ("name", "operations", "origins"),
    [("resnet18", 8, 5), ("resnet50", 8, 5), ("mobilenet_v2", 5, 5), ("densenet121", 5, 5), ("convnext_tiny", 4, 4)],
)
def test_groups_of_known_networks(name, operations, origins):
    model = torchvision.models.get_model(name, weights=None)
    assert groups(model, torch.randn(1, 3, 64, 64)) == (operations, origins)


def test_digits():
    a, b, four = Digit((2, 2)), Digit((2, 2)), Digit((4, 4))
    assert unify((a, b), (four,)) is None
    assert (a.find(), b.find()) == ((four, (1, 1)), (four, (2, 2)))
    c, d = Digit((4, 4)), Digit((2, 2))
    e, f = Digit((2, 2)), Digit((4, 4))
    assert unify((c, d), (e, f)) is None  # 4 * 2 meets 2 * 4: one joint choice of period 8
    assert c.find()[0] is f.find()[0] and c.find()[0].period == (8, 8)
    assert (d.find()[1], e.find()[1], f.find()[1]) == ((4, 4), (1, 1), (2, 2))
    assert "total stride 2 x 2 and 2 x 4" in unify((Digit((2, 2)),), (Digit((2, 4)),))


def test_rise_takes_the_finest_digits():
    a, b = Digit((2, 2)), Digit((4, 4))
    kept, taken, _ = rise((a, b), (4, 4))
    assert kept == (a,) and taken == (b,)
    kept, taken, _ = rise((a, b), (2, 2))
    assert stride(kept) == (4, 4) and taken[0].find() == (b, (2, 2)) and kept[1].find() == (b, (1, 1))
    assert rise((a,), (4, 4)) == ((), (a,), (2, 2))  # finer than the input
    assert rise((Digit((3, 3)),), (2, 2)) is None


class Random(nn.Module):
    """A small network drawn from a seed: parallel branches, concatenation, slices, shared and repeated modules."""

    def __init__(self, seed):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.draw = [int(v) for v in torch.randint(0, 1000, (40,), generator=g)]
        self.strides = [(2, 3, 4)[draw % 3] for draw in self.draw[:2]]
        self.stages = nn.ModuleList()
        for k in range(2):
            s, c = self.strides[k], 4
            branch = {
                "conv": nn.Conv2d(c, c, 3, s, 1),
                "wide": nn.Conv2d(c, c, 5, s, 4, dilation=2),
                "pool": nn.Sequential(nn.MaxPool2d(3, s, 1), nn.Conv2d(c, c, 1)),
                "average": nn.Sequential(nn.Conv2d(c, c, 1), nn.AvgPool2d(s)),
            }
            if s == 4:
                branch["twice"] = nn.Sequential(nn.Conv2d(c, c, 3, 2, 1), nn.SiLU(), nn.Conv2d(c, c, 2, 2))
            names = sorted(branch)
            chosen = [names[self.draw[10 + k] % len(names)], names[self.draw[20 + k] % len(names)]]
            self.stages.append(
                nn.ModuleDict({"a": branch[chosen[0]], "b": branch[chosen[1]], "mix": nn.Conv2d(c, c, 3, 1, 1)})
            )
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.cat([x, x[:, :1]], 1)
        for k, stage in enumerate(self.stages):
            a, b = stage["a"](x), stage["b"](x)
            a = stage["mix"](F.gelu(a))
            joined = [a + b, torch.cat((a[:, ::2], b[:, 1::2]), 1), a * torch.sigmoid(b)][self.draw[30 + k] % 3]
            if self.draw[35 + k] % 2:
                joined = joined + x[:, :, :: self.strides[k], :: self.strides[k]]
            x = stage["mix"](self.norm(joined))  # called a second time, at the same lattice or not
        return self.head(x.mean((2, 3)))


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_random_architectures_are_exactly_invariant(seed):
    torch.manual_seed(seed)
    model = Random(seed).eval()
    x = torch.randn(2, 3, 144, 144)  # a multiple of all strides drawn: 4 to 16
    try:
        converted = mass.convert(model, x)  # verify=True proves every node in float64
    except mass.NotEquivariantError as refusal:
        assert "strides cannot be matched" in str(refusal) or "cannot agree" in str(refusal)
        return
    certificate = mass.certify(converted, x, shifts=[(1, 0), (0, 1), (5, 7), (13, 11), (47, 30)])
    assert certificate.identical.all(), certificate


class UNet(nn.Module):
    def __init__(self, mode, strides=(2, 4)):
        super().__init__()
        self.mode, self.strides = mode, strides
        self.first, self.down = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 12, 3, strides[0], 1)
        self.deep, self.up = nn.Conv2d(12, 16, 5, strides[1], 2), nn.Conv2d(16, 12, 3, 1, 1)
        self.last = nn.Conv2d(20, 5, 3, 1, 1)

    def forward(self, x):
        a = F.silu(self.first(x))
        b = self.down(a)
        u = self.up(F.gelu(self.deep(b)))
        if self.strides[1] == 4:  # back up in two steps what went down in one
            u = F.interpolate(u, scale_factor=2, mode=self.mode)
            u = F.interpolate(u, scale_factor=2, mode=self.mode)
        else:
            u = F.interpolate(u, size=b.shape[2:], mode=self.mode)
        u = F.interpolate(u + b, size=a.shape[-2:], mode=self.mode)
        return self.last(torch.cat([u, a], 1))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("strides", [(2, 4), (3, 2), (4, 3)])
def test_going_up_again(mode, strides):
    model = UNet(mode, strides).eval()
    x = torch.randn(2, 3, 48, 24)
    certificate = mass.certify(mass.convert(model, x), x)
    assert certificate.identical.all(), certificate


def test_symmetric_input_and_symmetrise():
    """Period 3 under stride 2: no choice of origin is equivariant (Curie); the average over the choices is."""
    model = UNet("bilinear").eval()
    periodic = torch.randn(1, 3, 3, 24).repeat(1, 1, 16, 1)
    x = torch.cat((periodic, torch.randn(1, 3, 48, 24)))
    chosen = mass.certify(mass.convert(model, x), x)
    assert chosen.identical.tolist() == [False, True]
    assert chosen.symmetry[0] is not None and chosen.symmetry[0][0] % 3 == 0
    assert "own symmetry" in chosen.verdict and "symmetrise=True" in chosen.verdict
    averaged = mass.convert(model, x, symmetrise=True)
    assert mass.certify(averaged, x).identical.all()
    assert torch.allclose(averaged(x)[1], mass.convert(model, x)(x)[1], rtol=1e-6)
    averaged(x).sum().backward()
    with pytest.raises(mass.NotEquivariantError, match="at the input's resolution"):
        mass.convert(nn.Conv2d(3, 4, 3, 2, 1), x, symmetrise=True)


class DeadBranch(nn.Module):
    """A dead ReLU map enters the shared origin first; the other branch sees what it does not."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.first, self.second = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.first(F.relu(x - 1000)) + self.second(x)
        return self.head(F.relu(y).mean((2, 3)))


def test_dead_map_before_a_shared_origin():
    x = torch.randn(2, 3, 16, 24)
    certificate = mass.certify(mass.convert(DeadBranch().eval(), x), x)
    assert certificate.identical.all(), certificate
    assert certificate.margin.max() == 0


PERIODS = st.lists(st.sampled_from([(1, 2), (2, 1), (2, 2), (3, 3), (4, 4), (2, 4), (6, 6)]), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.lists(PERIODS, min_size=2, max_size=5), st.data())
def test_what_cannot_be_unified_is_left_as_it_was(chains, data):
    """`unify` changes all or nothing, whatever was joined before."""
    lattices = [tuple(Digit(period) for period in chain) for chain in chains]
    digits = [digit for lattice in lattices for digit in lattice]
    for _ in range(data.draw(st.integers(1, 6))):
        first, second = (data.draw(st.sampled_from(lattices)) for _ in range(2))
        start, stop = sorted(data.draw(st.tuples(st.integers(0, len(first)), st.integers(0, len(first)))))
        before = [(digit._root, digit._low) for digit in digits]
        if unify(first[start:stop], second) is not None:
            assert [(digit._root, digit._low) for digit in digits] == before
        for digit in digits:  # every digit can still be read off its root
            root, low = digit.find()
            assert not any(root.period[axis] % (low[axis] * digit.period[axis]) for axis in (0, 1))


def test_joins_are_made_together_or_not_at_all():
    a, b, four, six = Digit((2, 2)), Digit((2, 2)), Digit((4, 4)), Digit((6, 6))
    joins = Joins()
    assert joins.unify((a, b), (four,)) is None and joins.find(a)[0] is four and a.find()[0] is a
    assert joins.unify((b,), (six,)) is not None and joins.find(b)[0] is four
    joins.commit()
    assert a.find() == (four, (1, 1)) and b.find() == (four, (2, 2))
