"""Images made to break exactness, and what they break: sums that are rounded, and not f(shift(x)) == f(x).

The attacks are recipes: near-ties of every origin of a network, found by gradients and by bisection, symmetric images with
one bit changed, magnitudes from denormal to huge, NaN beside numbers. `companion.studies.exactness.attacks` searches wider.
"""

import pytest
import torch
from hypothesis import given, settings, target
from hypothesis import strategies as st

import mass
from companion.data.generated.hard_images import awkward_images
from companion.measures.near_ties import at_the_flip, next_up, toward_tie
from companion.measures.origins import origin_maps, phase_energies
from companion.measures.shifts import random_shifts
from companion.models.layer_by_layer import layer_by_layer
from companion.models.random_weights import calibrated
from mass.functional.origin.select import RULES

SIZE = (64, 96)
AWKWARD = awkward_images(*SIZE)
SHIFTS = random_shifts(SIZE, 8)


@pytest.fixture(scope="module", params=["resnet18", "mobilenet_v2", "convnext_tiny"])
def network(request):
    """A network, and its conversion."""
    model = calibrated(request.param)
    return model, mass.convert(model, AWKWARD["photograph"])


def margin(model, x, which):
    first, second = phase_energies(*origin_maps(model, x)[which])[0].topk(2).values
    return ((first - second) / first).item()


def test_near_ties_of_every_origin(network):
    """Gradients bring the two best phases within rounding of each other. Nothing moves, where rounded sums break."""
    plain, converted = network
    x = AWKWARD["photograph"]
    count, attacked = len(origin_maps(converted, x)), []
    for which in range(count):
        y = toward_tie(converted, x, which)
        with torch.no_grad():
            assert margin(converted, y, which) < 1e-6
        assert mass.certify(converted, y, SHIFTS).identical.all(), which
        attacked.append(y)
    moved = mass.certify(layer_by_layer(plain), torch.cat(attacked), SHIFTS).max_difference
    assert (moved > 0.01).sum() >= count // 2  # how near a tie is found depends on the rounding of the machine


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neighbours_that_choose_differently(network, dtype):
    """Between two neighbouring images an origin changes: it does so wherever they lie, in every precision."""
    model = network[1].to(dtype)
    try:
        x = AWKWARD["photograph"].to(dtype)
        for which in (0, len(origin_maps(model, x)) - 1):
            pair = torch.cat(at_the_flip(model, x, which))
            distance = (pair[0] - pair[1]).abs() / pair.abs().amax(0)
            assert 0 < distance.max() <= torch.finfo(dtype).eps
            assert mass.certify(model, pair, SHIFTS).identical.all(), which
    finally:
        model.float()


def test_symmetric_but_for_one_bit(network):
    """What no sum can see decides all the same: a symmetric image with one value changed by one unit in its last place."""
    images = [next_up(x, 977 * k) for k, x in enumerate(AWKWARD.values(), 1)]
    for batch in (torch.cat(images[:7]), torch.cat(images[6:])):
        assert mass.certify(network[1], batch, SHIFTS).identical.all()


@pytest.mark.parametrize("exponent", [-140, -120, -99, 20, 60])
def test_magnitudes(network, exponent):
    """Denormal images, those around the maximum that counts as zero, huge ones."""
    x = torch.cat([AWKWARD[name] for name in ("photograph", "two equal objects", "turned by 180 degrees")])
    found = mass.certify(network[1], (x.double() * 2.0**exponent).float(), SHIFTS)
    assert found.identical.all(), found


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays_in_its_image(network, value):
    """An image beside one with NaN or infinity keeps its answer, and its equivariance."""
    converted = network[1]
    clean = torch.cat([AWKWARD["photograph"], AWKWARD["two equal objects"], AWKWARD["another photograph"]])
    spoiled = clean.clone()
    spoiled[1, :, 5, 7] = value
    with torch.no_grad():
        expected = converted(clean)
        for t in ((0, 0), *SHIFTS):
            assert torch.equal(converted(mass.shift(spoiled, torch.tensor(t)))[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("rule", RULES)
def test_selection_among_values_that_are_not_finite(rule):
    """A map with NaN and infinities has an origin, and it moves along."""
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        kinds = torch.tensor([0.0, 1.0, -1.0, torch.nan, torch.inf, -torch.inf, 1e38, 1e-42])
        x = kinds[torch.randint(8, (1, 2, 8, 12), generator=generator)]
        h = mass.select_origin(x, (2, 4), rule)
        for t in ((1, 0), (0, 1), (3, 7)):
            moved = mass.select_origin(mass.shift(x, torch.tensor(t)), (2, 4), rule)
            assert torch.equal((moved + torch.tensor(t)) % torch.tensor((2, 4)), h)


@settings(max_examples=150)
@given(
    values=st.lists(st.integers(0, 2), min_size=24, max_size=24),
    defect=st.tuples(st.integers(0, 23), st.sampled_from([0.0, 1e-7, 2.0**-15, 2.0**-31, 1e-42])),
    tiles=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    t=st.tuples(st.integers(0, 11), st.integers(0, 17)),
)
def test_a_search_for_ties(values, defect, tiles, t):
    """Tiny maps of few levels, tiled, one value off by little: the search is drawn to the most tied phases."""
    x = torch.tensor(values, dtype=torch.float32).view(1, 1, 4, 6).repeat(1, 1, *tiles)
    x.view(-1)[defect[0]] += defect[1]
    energies = phase_energies(x, (2, 3))[0]
    target(int((energies > energies.max() * (1 - 1e-6)).sum()), label="tied phases")
    origin, moved = (mass.select_origin(y, (2, 3)) for y in (x, mass.shift(x, torch.tensor(t))))
    here, there = mass.shift(x, origin), mass.shift(mass.shift(x, torch.tensor(t)), moved)
    steps = [(i, j) for i in range(0, x.shape[2], 2) for j in range(0, x.shape[3], 3)]
    assert any(torch.equal(here.roll(step, (2, 3)), there) for step in steps)
