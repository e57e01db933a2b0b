"""h(S_t x) = h(x) - t (mod P): exactly, for every rule, dtype and input, ties included."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mass
from companion.data.generated.hard_images import awkward_images
from mass.functional.origin.position_hash import layout_hash, pixel_hash

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def aligned(x, origin, period):
    """All that sampling from an origin may see: the shifted map, up to multiples of the period."""
    moved = mass.shift(x, origin)
    steps = [(i, j) for i in range(0, x.shape[2], period[0]) for j in range(0, x.shape[3], period[1])]
    return [moved.roll(step, (2, 3)) for step in steps]


def covariant(x, t, period, rule):
    moved = x.roll((-t[0], -t[1]), (2, 3))
    there = mass.shift(moved, mass.select_origin(moved, period, rule))
    return any(torch.equal(here, there) for here in aligned(x, mass.select_origin(x, period, rule), period))


@given(
    period=st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 4), (2, 3), (1, 4), (12, 24)]),
    rule=st.sampled_from(mass.RULES),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from(["noise", "few levels", "two objects", "periodic", "zeros", "outlier", "tiny"]),
    t=st.tuples(st.integers(0, 11), st.integers(0, 23)),
    seed=st.integers(0, 20),
)
def test_covariance(period, rule, dtype, kind, t, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 3, 12, 24, generator=generator)
    if kind == "few levels":
        x = x.sign()
    elif kind == "two objects":
        x = torch.zeros_like(x)
        x[:, :, 1:3, 2:4] = x[:, :, 6:8, 9:11] = 1.0
    elif kind == "periodic":
        x = x[..., :6, :3].repeat(1, 1, 2, 8)
    elif kind == "zeros":
        x = torch.zeros_like(x)
    elif kind == "outlier":
        x[0, 0, 0, 0] = 6e4
    elif kind == "tiny":
        x = x * 1e-38
    assert covariant(x.to(dtype), t, period, rule)


@pytest.mark.parametrize("name", list(awkward_images(64, 96)))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_covariance_on_awkward_images(name, dtype):
    x = awkward_images(64, 96)[name].to(dtype)
    for t in ((1, 0), (0, 1), (17, 31), (33, 95)):
        assert covariant(x, t, (2, 2), "l2"), t


@pytest.mark.parametrize("rule", [rule for rule in mass.RULES if rule not in ("seam", "peak")])  # which read neighbours
def test_energies_do_not_depend_on_the_order(rule):
    """Selection is exactly permutation-invariant: shuffling the values of a phase over its positions changes nothing."""
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(1, 8, 16, 16, generator=generator) * torch.logspace(-4, 4, 8).view(1, 8, 1, 1)
        order = torch.randperm(64, generator=generator)
        phases = x.unflatten(3, (8, 2)).unflatten(2, (8, 2)).permute(0, 1, 3, 5, 2, 4).flatten(4)[..., order]
        shuffled = phases.unflatten(4, (8, 8)).permute(0, 1, 4, 2, 5, 3).reshape(x.shape)
        assert torch.equal(mass.select_origin(x, 2, rule), mass.select_origin(shuffled, 2, rule))


def test_agrees_with_float64_norms():
    """On generic maps the integer energies pick what the paper's l2 norm picks."""
    x = torch.randn(200, 16, 12, 18) * torch.rand(200, 1, 1, 1)
    phases = x.double().unflatten(3, (6, 3)).unflatten(2, (4, 3)).square().sum((1, 2, 4)).flatten(1)
    best = phases.argmax(1)
    assert torch.equal(mass.select_origin(x, 3), torch.stack((best // 3, best % 3), 1))


def test_an_outlier_does_not_erase_the_rest():
    x = torch.zeros(1, 1, 4, 4)
    x[..., 0, 0] = x[..., 1, 1] = 1e6  # equal outliers in phases (0, 0) and (1, 1)
    x[..., 3, 3] = 2.0  # below 15 bits of the maximum, within the next 15
    assert mass.select_origin(x, 2).tolist() == [[1, 1]]


@pytest.mark.parametrize("channels", [1, 3])
def test_layout_hash_against_brute_force(channels):
    """Two positions hash alike exactly when the map read from one is the map read from the other."""
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        height, width = (int(torch.randint(1, 8, (), generator=generator)) for _ in range(2))
        x = torch.randint(0, 2, (1, channels, height, width), generator=generator).float()
        if seed % 3 == 0:
            x = x.repeat(1, 1, 2, 3)
        readings = {}
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                readings[i, j] = tuple(x.roll((-i, -j), (2, 3)).flatten().tolist())
        hashes = layout_hash(x)[0]
        for (a, here), (b, there) in itertools.product(readings.items(), repeat=2):
            assert (hashes[a] == hashes[b]).item() == (here == there)


def test_ties_are_broken_by_layout_against_brute_force():
    """Among phases of equal energy, the origin is where the best-hashing reading of the map starts: compare all of them."""
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        x = torch.zeros(1, 1, 6, 8)
        places = torch.randperm(48, generator=generator)[:4]
        x.view(-1)[places] = 1.0
        energies = x.unflatten(3, (4, 2)).unflatten(2, (3, 2)).sum((1, 2, 4)).flatten()
        tied = [p for p in range(4) if energies[p] == energies.max()]
        hashes = layout_hash(x)[0]
        best = max(hashes[i, j].item() for i in range(6) for j in range(8) if (i % 2) * 2 + j % 2 in tied)
        chosen = [(i % 2, j % 2) for i in range(6) for j in range(8) if hashes[i, j].item() == best]
        assert tuple(mass.select_origin(x, 2)[0].tolist()) in chosen


def test_pixel_hash_normalises_zeros_and_nans():
    x = torch.tensor([0.0, -0.0, torch.nan, -torch.nan]).view(1, 1, 2, 2)
    hashes = pixel_hash(x).flatten()
    assert hashes[0] == hashes[1] and hashes[2] == hashes[3] != hashes[0]


def test_source_settles_what_the_map_does_not_show():
    """A dead map ties everywhere; the network's input, read on the map's lattice, decides covariantly."""
    source = torch.randn(1, 3, 16, 24)
    for t in ((1, 0), (5, 7), (3, 2)):
        moved = source.roll((-t[0], -t[1]), (2, 3))
        dead = torch.zeros(1, 4, 8, 12)
        first, second = torch.tensor([[1, 0]]), (torch.tensor([[1, 0]]) - torch.tensor(t)) % 2
        here = first + 2 * mass.select_origin(dead, 2, source=source, source_origin=first)
        there = second + 2 * mass.select_origin(dead, 2, source=moved, source_origin=second)
        assert torch.equal((there + torch.tensor(t)) % 4, here % 4)


def test_values_that_are_not_finite_do_not_stop_selection():
    x = torch.randn(2, 3, 8, 8)
    x[0, 0, 0, 0], x[1, 1, 1, 1] = torch.nan, torch.inf
    assert mass.select_origin(x, 2).shape == (2, 2)


def test_origin_has_no_gradient():
    assert not mass.select_origin(torch.randn(1, 3, 8, 8, requires_grad=True), 2).requires_grad


def test_margin_of_ties_and_of_one_phase():
    assert mass.margin(torch.ones(1, 1, 4, 4), 2).item() == 0
    assert mass.margin(torch.ones(1, 1, 4, 4), 1).item() == 1
    assert mass.margin(torch.zeros(1, 1, 4, 4), 2).item() == 0


@pytest.mark.parametrize(
    ("x", "period", "rule", "error", "message"),
    [
        (torch.randn(3, 8, 8), 2, "l2", ValueError, "got 3 axes"),
        (torch.ones(1, 3, 8, 8, dtype=torch.uint8), 2, "l2", TypeError, "torch.uint8"),
        (torch.randn(0, 3, 8, 8), 2, "l2", ValueError, "the map is empty"),
        (torch.randn(1, 3, 8, 8), 0, "l2", ValueError, "period must be at least 1, got 0"),
        (torch.randn(1, 3, 8, 8), -2, "l2", ValueError, "at least 1"),
        (torch.randn(1, 3, 8, 8), 2.0, "l2", TypeError, "int or a pair"),
        (torch.randn(1, 3, 8, 9), 2, "l2", ValueError, "width 9 is not a multiple of the period 2; 8 or 10 would do"),
        (torch.randn(1, 3, 3, 8), (4, 2), "l2", ValueError, "height 3 is not a multiple of the period 4; 4 would do"),
        (torch.randn(1, 3, 8, 8), 2, "l3", ValueError, "unknown rule 'l3'; choose one of l2, l1"),
    ],
)
def test_wrong_inputs(x, period, rule, error, message):
    with pytest.raises(error, match=message):
        mass.select_origin(x, period, rule)
