"""What notebook 09 measures, on examples with a known answer."""

import math

import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import mass
from companion.core.paths import find_root
from companion.core.published import write_results
from companion.data.generated.hard_images import centred_photograph
from companion.models.restorer import Restorer
from companion.studies.antialiasing import claims, generation, published
from companion.studies.antialiasing.corrupted import relative
from companion.studies.antialiasing.distance import feature_distance
from companion.studies.antialiasing.layers import against_float64, layer_errors, pooled
from companion.studies.antialiasing.versions import VERSIONS


class Features(nn.Module):
    """Two layers of stride 2, each returned."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)

    def forward(self, x):
        one = self.one(x).relu()
        return {"one": one, "two": self.two(one).relu()}


def test_the_seeds_signal():
    signal = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1])
    assert (
        pooled(signal)["max pooling"][1].tolist() == [0, 1, 0, 1]
        and pooled(signal.roll(-1))["max pooling"][1].tolist() == [1] * 4
    )
    assert (
        pooled(signal)["blurred"][1].tolist() == [0.5, 1, 0.5, 1]
        and pooled(signal.roll(-1))["blurred"][1].tolist() == [0.75] * 4
    )


@pytest.mark.parametrize("version", ["APS", "MASS", "MASS over anti-aliasing"])
def test_features_that_move_along_have_no_distance(version):
    x = centred_photograph(32, 32)
    found = feature_distance(VERSIONS[version](Features().eval(), x), ["one", "two"], x, 4)
    assert all(grid.eq(0).all() for grid in found.values())


@pytest.mark.parametrize("version", ["plain", "circular padding", "anti-aliased", "MASS"])
def test_without_a_shift_there_is_no_distance(version):
    """In networks with batch normalisation, read by torchvision's extractor, which has graphs of its own for both modes."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)).eval()
    model[1].running_var.fill_(0.01)  # of no batch
    extractor = create_feature_extractor(model, {"2": "one", "3": "two"}).eval()
    x = centred_photograph(32, 32)
    network = VERSIONS[version](extractor, x)
    assert not any(module.training for module in network.modules())
    assert all(grid[0, 0] < 1e-12 for grid in feature_distance(network, ["one", "two"], x, 2).values())


def test_distance_is_zero_at_multiples_of_the_stride_alone_and_less_behind_a_filter():
    x = centred_photograph(32, 32)
    of = {
        name: feature_distance(VERSIONS[name](Features().eval(), x), ["one", "two"], x, 8)
        for name in ("circular padding", "anti-aliased")
    }
    for layer, stride in (("one", 2), ("two", 4)):
        for found in of.values():
            still = torch.zeros(8, 8, dtype=torch.bool)
            still[::stride, ::stride] = True
            assert found[layer][still].abs().max() < 1e-12 and found[layer][~still].min() > 1e-6
        assert of["anti-aliased"][layer].mean() < of["circular padding"][layer].mean()


def test_distance_is_the_cosine_at_the_images_resolution():
    """Against features enlarged and compared pixel by pixel."""
    x, model = centred_photograph(16, 16), Features().eval()
    found = feature_distance(model, ["two"], x, 3)["two"]
    with torch.no_grad():
        fine = [
            model(mass.shift(x, torch.tensor(t)))["two"].double().repeat_interleave(4, 2).repeat_interleave(4, 3)
            for t in ((0, 0), (2, 1))
        ]
    cosine = torch.nn.functional.cosine_similarity(mass.shift(fine[0], torch.tensor((2, 1))), fine[1], dim=1)
    nothing = (fine[0].norm(dim=1) == 0).sum() + (fine[1].norm(dim=1) == 0).sum()
    assert nothing == 0 and found[2, 1] == pytest.approx(1 - cosine.mean().item(), abs=1e-7)


def test_layers_alone():
    errors = {row["method"]: row for row in layer_errors(centred_photograph(64, 64))}
    assert errors["MASS"]["moved by 1"] == errors["MASS"]["moved by 2"] == 0
    assert (
        errors["max pooling"]["moved by 1"]
        > errors["BlurPool, size 3"]["moved by 1"]
        > errors["BlurPool, size 5"]["moved by 1"]
        > 1
    )
    assert errors["max pooling"]["moved by 2"] == 0 and errors["TIPS"]["moved by 2"] > 0.1 > errors["FLC"]["moved by 2"]
    assert all(row["in roundings"] < 4 for row in against_float64(centred_photograph(64, 64)))


@pytest.mark.parametrize(
    ("version", "identical"),
    [("plain", False), ("anti-aliased", False), ("APS", True), ("MASS", True), ("MASS over anti-aliasing", True)],
)
def test_generation_is_stable_where_it_is_exact(version, identical):
    images, tested = generation.pictures("photographs", 2, find_root(), 64)
    model = generation.trained(version, images, 2, seed=0)
    found = generation.stability(model, tested, seed=0)
    assert (
        found["n"] == 2 * 15 and (found["identical"] == 100) == identical and (found["stability"] is None) == identical
    )
    again = generation.trained(version, images, 2, seed=0)
    assert torch.equal(again(tested), model(tested))


def test_psnr():
    assert generation.psnr(0.001) == pytest.approx(30) and generation.psnr(0.0) == math.inf
    assert Restorer()(torch.rand(1, 3, 8, 12)).shape == (1, 3, 8, 12)


def test_mean_corruption_error_is_a_mean_over_kinds():
    errors = {("plain", "fog"): 10.0, ("plain", "snow"): 40.0, ("MASS", "fog"): 20.0, ("MASS", "snow"): 40.0}
    rows = [{"seed": 1, "method": m, "input": f"corrupted: {k}", "error": e} for (m, k), e in errors.items()]
    assert {row["method"]: row["relative"] for row in relative(rows, "plain")} == {"plain": 100.0, "MASS": 150.0}


def runs(plain, ours):
    return [
        {"method": m, "seed": k, "top1": v}
        for m, values in (("plain", plain), ("ours", ours))
        for k, v in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("plain", "ours", "verdict"),
    [
        ([90.0, 91.0, 90.5], [92.0, 93.1, 92.4], claims.CONFIRMED),
        ([92.0, 93.1, 92.4], [90.0, 91.0, 90.5], claims.NOT),
        ([90.0, 91.0, 90.5], [90.5, 90.5, 91.0], claims.OPEN),
        ([90.0], [99.0], claims.OPEN),  # one seed decides nothing
        ([], [99.0], claims.OPEN),
    ],
)
def test_verdicts_go_by_tests(plain, ours, verdict):
    claim = claims.judged("it rises", "top-1", claims.difference(runs(plain, ours), "ours", "plain"))
    assert claims.decided([claim])[0].verdict == verdict


def test_comparisons_without_intervals_hold_for_all_cases_or_none():
    assert claims.by_comparison("", "", {"a": (2, 1), "b": (3, 2)}).verdict == claims.AS_CLAIMED
    assert claims.by_comparison("", "", {"a": (2, 1), "b": (1, 2)}).verdict == claims.OPEN
    assert claims.by_comparison("", "", {"a": (1, 1), "b": (1, 2)}).verdict == claims.NOT_AS_CLAIMED


def test_the_table_of_claims_follows_from_published_records(tmp_path):
    """A claim about shifts in training is open without such runs, and told by them where there are some."""
    about = {"notebook": "09_antialiasing", "profile": "reduced", "dataset": "cells", "net": "net", "epochs": 6}
    kinds = {"anti-aliased": 85.0, claims.PLAIN: 77.0, f"{claims.PLAIN}, shifts in training": 80.0}
    made = [
        about | {"row": seed, "method": method, "seed": seed, "top1": 80.0, "consistency": value * (1 + 0.001 * seed)}
        for method, value in kinds.items()
        for seed in range(3)
    ]
    made += [
        {"row": 9, "stage": "feature distance", "model": "net", "method": method, "layer": "last", "mean": mean}
        for method, mean in (("plain", 0.3), ("circular padding", 0.5), ("anti-aliased", 0.4))
    ]
    made += [
        {"row": 10, "stage": "generation", "method": m, "stability": 30.0} for m in ("circular padding", "anti-aliased")
    ]
    for records, verdict in ((made, claims.CONFIRMED), (made[:6] + made[9:], claims.OPEN)):
        told = {claim.said: claim.verdict for claim in published.claims(records, tmp_path)}
        assert told["Shift augmentation is no longer required"] == verdict
        assert told["Internal features keep shift-equivariance better"] == claims.AS_CLAIMED


def test_further_seeds_are_those_of_the_same_network_on_the_same_images(tmp_path):
    ours = {"dataset": "cells", "net": "net", "epochs": 6, "method": "MASS", "seed": 0}
    theirs = [ours | {"stage": "fine-tuned"} | change for change in ({}, {"seed": 1}, {"seed": 2, "epochs": 7})]
    write_results(
        tmp_path,
        "periodic",
        [record | {"profile": "reduced", "device": "cpu", "platform": "", "cpu": ""} for record in theirs],
    )
    assert [record["seed"] for record in claims.further_seeds(tmp_path, [ours])] == [1]
