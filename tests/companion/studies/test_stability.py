"""Notebook 15: every network is asked the same, and rows say what was asked."""

import copy

import pandas as pd
import pytest
import torch
from torch import nn

import mass
from companion.core.files import write_json
from companion.core.published import records_of
from companion.data.segmented import Segmented
from companion.measures.origins import origin_maps
from companion.studies.stability import answers, continuity, figures, kept, masks, measures, networks, trained
from companion.studies.stability.benchmarks.arms import before_and_after
from companion.studies.stability.benchmarks.recording import Bench
from companion.studies.stability.study import STUDY
from companion.training.tune import Tuning, in_memory


class Bright(nn.Module):
    """Two classes: is an image bright?"""

    def forward(self, x):
        level = x.mean((1, 2, 3))
        return torch.stack((level, 1 - level), 1)


def batches(count=6, size=40):
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return [(images[:4], torch.zeros(4, dtype=torch.int64)), (images[4:], torch.ones(2, dtype=torch.int64))]


def test_all_networks_see_the_same_images():
    one, other = (answers.answers(Bright(), batches(), lambda x: x, answers.CHANGES, seed=3) for _ in range(2))
    for name in answers.CHANGES:
        assert torch.equal(one.jump[name], other.jump[name])
        assert one.jump[name].max() > 0


def test_shifts_leave_the_mean_where_nothing_leaves_the_frame():
    said = answers.answers(Bright(), batches(), lambda x: x, answers.SHIFTS, seed=3)
    assert said.jump["circular shift 1"].max() < 1e-6
    assert said.consistent("circular").all()
    assert said.jump["ordinary shift 1"].max() > 1e-3  # zeros came in


def test_the_two_shifts_of_a_pair_differ():
    class Corner(nn.Module):
        def forward(self, x):
            return x[:, 0, :1, :7].flatten(1)

    said = answers.answers(Corner(), batches(), lambda x: x, answers.SHIFTS, seed=3)
    for kind in ("circular", "ordinary"):
        assert not torch.equal(said.jump[f"{kind} shift 1"], said.jump[f"{kind} shift 2"])
        assert not said.consistent(kind).all()


def test_one_grey_level_is_one_grey_level():
    images = torch.rand(2, 3, 8, 8)
    changed = answers.CHANGES[answers.ONE_LEVEL](images, torch.Generator().manual_seed(0))
    assert (changed - images).abs().max() <= 1 / 255 + 1e-6
    assert (changed != images).any()


def test_rows_count_every_image_once():
    said = {name: answers.answers(Bright(), batches(), lambda x: x, answers.CHANGES | answers.SHIFTS, seed=3)
            for name in (networks.PLAIN, networks.CIRCULAR, networks.MASS, networks.BLENDED)}  # fmt: skip
    assert {row["n"] for row in measures.main_rows(said)} == {6}
    assert len(measures.paired(said)) == 10
    rows = measures.ways(said, dict.fromkeys(said, Bright()), batches()[0][0])
    assert all(row["consistency"] == 100 and row["paths"] == 1 for row in rows)


def test_a_mean_over_fixed_phases_is_that():
    x = torch.rand(2, 3, 8, 8)
    network = nn.Sequential(nn.Conv2d(3, 2, 3, 2, 1), nn.Flatten())
    mean = networks.OverPhases(network, [(0, 0), (1, 3)])
    assert torch.allclose(mean(x), (network(x) + network(x.roll((1, 3), (2, 3)))) / 2)
    assert networks.paths_of(mean, x) == 2


def trained_like(names):
    changes = {name: answers.CHANGES[name] for name in ("noise 2", answers.ONE_LEVEL)} | answers.SHIFTS
    return {name: answers.answers(Bright(), batches(), lambda x: x, changes, seed=3) for name in names}


def test_every_comparison_of_trainings_names_networks_that_were_asked():
    arms = trained.arms(2.0)
    names = [networks.PLAIN, networks.CIRCULAR, networks.MASS, networks.BLENDED, *(arm.used() for arm in arms)]
    names += [arm.used(networks.BLENDED) for arm in arms if arm.method == networks.MASS]
    assert len(set(names)) == len(names)
    said = trained_like(names)
    assert [row["method"] for row in trained.rows(said)] == names
    rows = trained.compared(said, 2.0)
    assert (
        len({(row["stage"], row["method"], row["against"]) for row in rows}) == len(rows) == 2 * len(trained.pairs(2.0))
    )


def test_noise_in_training_is_the_same_for_every_network_and_other_in_every_epoch():
    tuning = Tuning(2, 3, 0.1)
    pixels = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    epochs = trained.noisy(in_memory(pixels, torch.arange(6) % 2, tuning), 2.0)
    first, again, second = ([images for images, *_ in epochs(number, 0, 1)] for number in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    clean = [images for images, *_ in in_memory(pixels, torch.arange(6) % 2, tuning)(0, 0, 1)]
    spread = torch.cat(first).sub(torch.cat(clean)).std().item() * 255
    assert 1.5 < spread < 2.2  # two grey levels, clipped
    assert not torch.equal(first[0], second[0])


class InPlace(nn.Module):
    """Two strided stages; the activation before the second overwrites the map it reads."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.act, self.second, self.head = nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, 2, 1), nn.Linear(8, 4)
        self.nothing = nn.Identity()

    def forward(self, x):
        return self.head(self.second(self.nothing(self.act(self.norm(self.first(x))))).relu().mean((2, 3)))


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_origins_read_off_an_earlier_map_are_as_exact(steps):
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    converted = mass.convert(InPlace().eval(), x)
    earlier = networks.reading_earlier(converted, steps)
    for shift in [(1, 0), (3, 5), (7, 2), (15, 9)]:
        assert torch.equal(earlier(x.roll(shift, (2, 3))), earlier(x))
    with torch.no_grad():
        before, now = (origin_maps(network, x)[1][0] for network in (earlier, converted))
    assert now.min() == 0 > before.min()  # behind the activation, and before it
    assert torch.equal(converted(x), mass.convert(InPlace().eval(), x)(x))  # it is a copy


def test_a_path_is_counted_wherever_the_network_ends():
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    dense = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 2, 2, 2)).eval()
    (name,) = networks.origins_of(mass.convert(dense, x))
    assert networks.paths_of(mass.convert(dense, x, blend={name: networks.WHOLE}, paths=4), x) == 4
    assert networks.paths_of(mass.convert(dense, x), x) == 1


def test_cheaper_settings_are_settings_of_convert():
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    layers = [layer for _ in range(5) for layer in (nn.Conv2d(3, 3, 3, 2, 1), nn.ReLU())]
    plain = nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 2)).eval()
    names = networks.origins_of(mass.convert(plain, x))
    for blend, paths in networks.cheaper(names, 0.005).values():
        network = mass.convert(plain, x, blend=blend, paths=paths, verify=False)
        assert networks.paths_of(network, x) <= paths


class Threshold(nn.Module):
    """Two classes by pixel: is it bright?"""

    def forward(self, x):
        level = x.mean(1)
        return torch.stack((level, -level), 1)


def test_masks_count_labelled_pixels_of_each_image():
    data = Segmented(None, None, ("bright", "dark"))
    images = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8)
    images[1, :, :4] = 0
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    labels[1, :2], labels[1, 2:4] = 255, 1  # the first rows are not counted, the next are dark
    found = masks.masks(Threshold(), [(images, labels)], data, noise=2.0)
    assert found.right.tolist() == [100, 100]
    assert found.noisy.tolist() == found.moved.tolist() == [0, 0]
    assert found.identical.all()
    rows = masks.rows({networks.PLAIN: found})
    assert rows[0]["n"] == 2
    assert (
        len(masks.paired(dict.fromkeys((networks.PLAIN, networks.CIRCULAR, networks.MASS, networks.BLENDED), found)))
        == 10
    )


def test_what_a_benchmark_has_finished_is_not_made_again(tmp_path):
    bench, calls = Bench(tmp_path, "topic"), []

    def make():
        calls.append(1)
        return {"value": torch.ones(2)}

    first = bench.once("a network, tuned", {"steps": 1}, make)
    assert torch.equal(bench.once("a network, tuned", {"steps": 1}, make)["value"], first["value"])
    assert len(calls) == 1
    bench.once("a network, tuned", {"steps": 2}, make)  # other settings
    assert len(calls) == 2
    write_json(bench.kept / "spent.json", {"seconds": 1000.0})
    assert Bench(tmp_path, "topic").seconds >= 1000  # what earlier calls took counts as well
    bench.write([{"stage": "s", "method": "m", "n": 2}, {"stage": "s", "method": "k", "n": 2}], model="x")
    assert [record["method"] for record in records_of(tmp_path / "runs" / "bench" / "topic")] == ["m", "k"]


def test_answers_are_kept_of_the_same_code_alone(tmp_path, monkeypatch):
    """A killed run goes on where it stood; of another commit, or of a tree that was modified, all is asked again."""
    facts, calls = {"commit": "a", "modified": False}, []
    monkeypatch.setattr(kept, "provenance", lambda root: dict(facts))

    class Counting(nn.Module):
        def forward(self, x):
            calls.append(len(x))
            return x.mean((2, 3))

    def asked(**made):
        given = kept.Kept(tmp_path, tmp_path / "kept", made)
        return given.asked({"n": Counting()}, batches(), lambda x: x, {"noise 2": answers.CHANGES["noise 2"]}, 0)["n"]

    first, once = asked(images=6), len(calls)
    assert torch.equal(asked(images=6).jump["noise 2"], first.jump["noise 2"]) and len(calls) == once
    for change, made in (({"commit": "b"}, {"images": 6}), ({"modified": True}, {"images": 6}), ({}, {"images": 7})):
        facts |= change
        before = len(calls)
        asked(**made)
        assert len(calls) == before + once
    facts["modified"] = False
    asked(images=7)
    assert len(calls) == 4 * once


def test_two_networks_alone_are_tuned_and_compared(tmp_path):
    """As with `training_mobilenet --blended`: nothing is frozen, for none of them chooses."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    four = networks.versions(nn.Sequential(*layers, nn.Linear(8, 2)).eval(), torch.rand(1, 3, 40, 40), 0.005, 4)
    two = {name: four[name] for name in (networks.PLAIN, networks.BLENDED)}
    arms = [trained.Arm(name, 0.0) for name in two]
    rows, _ = before_and_after(
        Bench(tmp_path, "t"), two, arms, lambda network, noise: [0.0], batches(), {"images": 6}, {"steps": 1}
    )
    assert [row["method"] for row in rows if row["stage"] == "tuned"] == [*two, "plain, tuned", "MASS, blended, tuned"]
    assert {(row["method"], row["against"]) for row in rows if row["stage"] == "top-1, paired"} == {
        ("plain, tuned", "plain"), ("MASS, blended, tuned", "MASS, blended"), ("MASS, blended, tuned", "plain, tuned"),
    }  # fmt: skip


def test_networks_are_asked_before_and_after_each_training(tmp_path):
    """What comes back of a rehearsal: all networks, the paired tests of those that were asked, p-values of frozen origins corrected."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    four = networks.versions(nn.Sequential(*layers, nn.Linear(8, 2)).eval(), torch.rand(1, 3, 40, 40), 0.005, 4)
    before = {name: copy.deepcopy(network.state_dict()) for name, network in four.items()}
    arms = [trained.Arm(networks.PLAIN, 0.0), trained.Arm(networks.MASS, 2.0)]

    def tune(network, noise):
        with torch.no_grad():
            network[0].weight.mul_(0.5) if isinstance(network, nn.Sequential) else next(network.parameters()).mul_(0.5)
        return [noise]

    rows, took = before_and_after(Bench(tmp_path, "topic"), four, arms, tune, batches(), {"images": 6}, {"steps": 1})
    tuned = {row["method"]: row for row in rows if row["stage"] == "tuned"}
    with_noise = "MASS, tuned with noise"
    assert list(tuned) == [*four, "plain, tuned", with_noise, f"{with_noise}, used blended"]
    assert all(row["consistency"] == 100 for name, row in tuned.items() if "MASS" in name)
    assert [name for name, row in tuned.items() if row.get("frozen_p_holm", -1) >= row.get("frozen_p", 0)] == [
        "MASS",
        with_noise,
    ]
    assert {(row["method"], row["against"]) for row in rows if row["stage"] == "top-1, paired"} == {
        ("plain, tuned", "plain"), (f"{with_noise}, used blended", with_noise),
    }  # fmt: skip
    assert [row["loss"] for row in took] == [0.0, 2.0]
    assert all(
        torch.equal(a, b)
        for name in four
        for a, b in zip(before[name].values(), four[name].state_dict().values(), strict=True)
    )


def test_tables_are_refused_by_nobody_before_anything_is_published(tmp_path):
    for name, made in STUDY.tables.items():
        assert made(tmp_path).startswith("Nothing is published yet"), name


def test_the_figure_of_tuning_has_a_point_for_every_network_and_stage():
    arms = trained.arms(2.0)
    names = [networks.PLAIN, networks.CIRCULAR, networks.MASS, networks.BLENDED, *(arm.used() for arm in arms)]
    names += [arm.used(networks.BLENDED) for arm in arms if arm.method == networks.MASS]
    rows = [{"method": name, "changed_by_noise": 5.0, "top1": 90.0} | {"n": 100} for name in names]
    fig = figures.tuned(rows, "tuned")
    points = [line for line in fig.axes[0].lines if line.get_marker() in ("o", "D") and len(line.get_xdata()) == 1]
    assert len(points) == 15  # five networks in three stages


@pytest.mark.parametrize("steps", [2, 4, 64])
def test_a_jump_on_a_line_is_found_to_a_64th(steps):
    class Step(nn.Module):
        def forward(self, x):
            level = x.mean((1, 2, 3))
            return torch.stack((level, (level > 0.703).float()), 1)

    left, right = continuity.tie_on_the_way(Step(), torch.zeros(3, 8, 8), torch.ones(3, 8, 8), steps)
    assert left.mean() <= 0.703 < right.mean()
    assert abs((right - left).mean() - 1 / 64) < 1e-6


def test_figures_say_what_they_draw():
    methods = [networks.PLAIN, networks.CIRCULAR, networks.MASS, networks.BLENDED]
    rows = pd.DataFrame(
        {"method": method, "input": kind, "changed": share, "n": 100}
        for kind in ("noise 2", "JPEG 80")
        for method, share in zip(methods, (3, 5, 7, 5), strict=True)
    )
    ax = figures.changed_by(rows, "Labels").axes[0]
    assert (
        "fewer blended than with a choice under 2 of 2 changes,\nfewest with the plain network under 2"
        in ax.get_title()
    )
    assert [text.get_text() for text in ax.texts] == ["3.0", "5.0", "7.0", "5.0"] * 2
    table = pd.DataFrame({"method": methods, "n": 100, "top1": 80, "consistency": [90, 90, 100, 100]})
    fig = figures.stability_against(table.assign(changed_by_noise=[3, 5, 7, 5]), "Ways")
    assert fig.get_suptitle().endswith("of the exact (filled): MASS, blended 5.0%; MASS 7.0%")
    assert fig.axes[0].get_yticklabels()[0].get_text() == networks.PLAIN
