"""Notebook 10: its recipes, its tracker's geometry, and what its tables may say."""

import pytest
import torch

import mass
from companion.core.paths import find_root
from companion.data.generated.sequences import generated
from companion.data.transforms import QuarterTurns
from companion.pipeline.settings import load_config
from companion.studies.implicit_equivariance import claims, measurements, tracking
from companion.studies.implicit_equivariance.arms import ARMS, in_order, recipes

NOTEBOOK = "10_implicit_equivariance"


@pytest.fixture(params=["quick", "reduced", "paper"])
def settings(request):
    return load_config(find_root()).of(NOTEBOOK, request.param)


def test_every_run_has_a_folder_of_its_own(settings):
    names = [recipe.name for recipe in in_order(recipes(settings))]
    assert len(set(names)) == len(names) and set(settings.arms) <= set(ARMS)


def test_arms_come_once_before_any_is_repeated(settings):
    first = in_order(recipes(settings))[: len(settings.arms)]
    assert {recipe.seed for recipe in first} == {settings.seed}


def test_copies_are_the_same_with_the_loss_and_without(settings):
    by_arm = recipes(settings)
    assert {r.transforms for arm in ("plain", "ien", "steerable", "ien-mass") for r in by_arm[arm]} == {"r4"}


def scene(centre: tuple[int, int], turned: int = 0) -> torch.Tensor:
    """A frame (1, 128, 128) of noise with one blob of a pattern."""
    g = torch.Generator().manual_seed(0)
    frame, pattern = 0.1 * torch.rand(1, 128, 128, generator=g), torch.rand(24, 24, generator=g)
    row, column = centre
    frame[0, row - 12 : row + 12, column - 12 : column + 12] = pattern.rot90(turned)
    return frame


@pytest.mark.parametrize("over_mass", [False, True])
def test_an_untrained_tracker_finds_what_moved_by_whole_strides(over_mass):
    from companion.data.generated.sequences import Sequence

    model = tracking.backbone(8, over_mass, 0).eval()
    places = [(60, 60), (64, 56), (72, 52), (68, 60)]
    frames = torch.stack([scene(place) for place in places])
    boxes = torch.tensor([(*place, 24.0, 24.0) for place in places])
    found = tracking.track(model, Sequence(frames, boxes), turned=False)
    assert torch.equal(found, boxes[:, :2])


def test_over_mass_a_position_is_exact_to_the_pixel():
    model = tracking.backbone(8, True, 0).eval()
    frame = scene((64, 64))
    template, at = tracking.embed(model, tracking.crop(frame, torch.tensor([64.0, 64.0]), 32)[None])
    search = tracking.crop(frame, torch.tensor([64.0, 64.0]), 64)[None]
    seen = {}
    for by in [(0, 0), (1, 2), (3, 1), (2, 3)]:
        maps, origin = tracking.embed(model, mass.functional.shift.shift(search, torch.tensor([by])))
        response = tracking.respond(template, maps)[0]
        rows, columns = tracking.offsets(at, origin, len(response))[0]
        peak = int(response.argmax())
        seen[by] = (int(rows[peak // len(columns)]) + by[0], int(columns[peak % len(columns)]) + by[1])
    assert len(set(seen.values())) == 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_offsets_turn_with_the_region(turns):
    from companion.studies.implicit_equivariance.tracking import _turned

    region = torch.zeros(1, 1, 64, 64)
    region[0, 0, 32 + 5, 32 - 9] = 1
    turned = QuarterTurns(torch.tensor([turns]))(region)
    row, column = _turned(torch.tensor([[5, -9]]), torch.tensor([turns]))[0].tolist()
    assert turned[0, 0, 32 + row, 32 + column] == 1


def test_a_tracker_is_read_again_and_scored(tmp_path):
    settings = tracking.Tracking(width=4, steps=2, batch=2, sequences=2, frames=3, seed=0)
    rows = tracking.measure(settings, tmp_path)
    assert rows == tracking.measure(settings, tmp_path) and len(rows) == 1 + 2 * len(tracking.ARMS)
    perfect = generated(1, 4, 0, test=True)[0]
    found = tracking.scores(perfect.boxes[:, :2], perfect)
    assert found["centre_error"] == 0 and found["success"] == 100


def test_equivalence_needs_an_interval_within_the_margin():
    tight = measurements.equivalent({0: 90.0, 1: 90.1, 2: 90.2}, {0: 90.1, 1: 90.1, 2: 90.1}, 0.5)
    assert tight["equivalent"] and tight["n"] == 3 and tight["p"] < 0.05
    wide = measurements.equivalent({0: 90.0, 1: 92.0, 2: 88.0}, {0: 90.1, 1: 90.1, 2: 90.1}, 0.5)
    assert wide["equivalent"] is False and wide["p"] > 0.05
    assert measurements.equivalent({0: 90.0}, {0: 90.0}, 0.5)["equivalent"] is None


def test_steerable_filters_are_exported_to_plain_convolutions():
    pytest.importorskip("e2cnn")
    from companion.models.methods import METHODS

    model = METHODS["baseline-zero"].build("steerable-tiny16", 0).eval()
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(model(x), model.export()(x), atol=1e-5)


def test_one_seed_gives_no_verdict():
    settings = load_config(find_root()).of(NOTEBOOK, "quick")
    records = [
        {"method": ARMS[arm].printed, "dataset": settings.rotated, "seed": 0, "top1": 90.0, "worst_step": 80.0, "n": 9}
        for arm in settings.arms
    ]
    table = claims.comparisons(records, settings)
    assert set(table["verdict"]) == {"one seed: no verdict"}


def test_the_claims_say_what_was_not_run():
    settings = load_config(find_root()).of(NOTEBOOK, "quick")
    records = [
        {"method": ARMS[arm].printed, "dataset": settings.rotated, "seed": 0, "top1": 90.0, "worst_step": 80.0, "n": 9}
        for arm in settings.arms
    ]
    times = [
        {"method": method, "ratio": ratio, "quartile_low": 0.9 * ratio, "quartile_high": 1.1 * ratio, "rounds": 5}
        for method, ratio in (("IEN", 1.0), ("steerable", 1.5), ("steerable, exported", 1.0))
    ]
    certified = [{"method": "IEN over MASS", "verdict": "CERTIFIED", "images": 4, "shift_error": 0.0}]
    tracked = [
        {"method": method, "rule": "template turned", "seed": 0, "success": 50.0} for method in ("plain", "IEN", "MASS")
    ]
    told = claims.claims(records, settings, times, certified, tracked)
    assert "for scale is more accurate than the plain network | – | not run in this profile" in told
    assert "true of the library's modules; not of the network, exported" in told
    assert "CERTIFIED, 4 images; error of its maps 0 | yes" in told and told.count("one seed: no verdict") == 6


def test_a_template_that_changes_nothing_is_not_tested_twice():
    tracked = [
        {"method": method, "rule": rule, "seed": seed, "success": 50.0 + at + seed + (method == "IEN") * turned * seed}
        for method, at in (("plain", 0), ("IEN", 3), ("MASS", 2))
        for rule, turned in (("as it was", 0), ("turned", 1))
        for seed in range(3)
    ]
    table = claims.tracking(tracked)
    assert [(m, r) for m, r in zip(table["method"], table["rule"], strict=True)] == [
        ("IEN", "as it was"),
        ("MASS", "as it was"),
        ("IEN", "turned"),
    ]
