"""Notebook 11 on solar cells: paired comparisons are of MASS with each of the others; answers are kept; runs are notebook 09's."""

from dataclasses import replace

import pytest
import torch

from companion.core.paths import find_root
from companion.models.methods import METHODS
from companion.pipeline.settings import load_config
from companion.studies.antialiasing.recipes import recipes as recipes_of_09
from companion.studies.periodic import solar_cells
from companion.studies.periodic.asked import Asked, about, corrected, over_seeds
from companion.studies.periodic.recipes import fine_tuned, recipes
from companion.studies.periodic.worst_case import Attacked

SETTINGS = load_config(find_root()).of("11_periodic", "reduced")


def attacked(wrong):
    """Answers to eight images at four residues; the first `wrong` of them are wrong at the last residue."""
    true = torch.tensor([0, 1] * 4)
    said = true.expand(4, 8).clone()
    said[3, :wrong] = 1 - true[:wrong]
    return Attacked(true, said, torch.zeros(8, dtype=torch.bool))


def answers(wrong, seeds=3):
    """Of every seed, methods that are wrong about so many images at the worst residue, MASS; others of odd seeds about one less."""
    made = recipes(SETTINGS, tuple(wrong), seeds=seeds)
    return Asked(
        {recipe: attacked(wrong[recipe.method] - recipe.seed % 2 * (recipe.method != "mass")) for recipe in made}
    )


def test_mass_is_compared_with_each_of_the_others_in_place_and_at_the_worst_residue():
    rows = answers({"baseline": 7, "lpf3": 3, "mass": 1}).paired()
    assert [(row["input"], row["against"]) for row in rows] == [
        (asked, other) for asked in ("in place", "worst residue") for other in ("Baseline", "LPF-3")
    ]
    in_place, at_worst = rows[0], rows[2]
    assert in_place["difference"] == in_place["seed_difference"] == 0 and in_place["p"] == in_place["seed_p"] == 1
    assert at_worst["method"] == "MASS" and at_worst["difference"] == pytest.approx(75)
    assert (at_worst["only_before"], at_worst["only_after"], at_worst["n"], at_worst["seeds"]) == (0, 6, 8, 3)
    assert at_worst["seed_difference"] == pytest.approx(212.5 / 3)
    assert at_worst["seed_low"] <= at_worst["seed_difference"] <= at_worst["seed_high"]
    assert all(row["p_holm"] >= row["p"] and row["seed_p_holm"] >= row["seed_p"] for row in rows)


def test_of_one_seed_there_is_no_comparison_over_seeds():
    rows = answers({"baseline": 7, "mass": 1}, seeds=1).paired()
    assert all(row["seeds"] == 1 and "seed_p" not in row and "seed_difference" not in row for row in rows)
    assert Asked({}).paired() == [] and Asked({}).rows == [] and corrected([], "p") == []


def test_over_seeds_differences_are_ours_less_the_other():
    about = {"dataset": "d", "net": "n"}
    rows = [
        about | {"method": m, "seed": s, "top1": v + v * s} for s in range(3) for m, v in (("MASS", 8), ("other", 7))
    ]
    (row,) = over_seeds(rows, "MASS", {"in place": "top1"})
    assert row["against"] == "other" and row["seed_difference"] == 2 and 0 < row["seed_p_holm"] < 0.1


def test_seeds_that_all_differ_alike_are_not_tested():
    about = {"dataset": "d", "net": "n"}
    rows = [about | {"method": m, "seed": s, "top1": v + s} for s in range(3) for m, v in (("MASS", 80), ("other", 70))]
    (row,) = over_seeds(rows, "MASS", {"in place": "top1"})
    assert row["seeds"] == 3 and row["seed_difference"] == 10 and not {"seed_p", "seed_p_holm", "seed_low"} & set(row)


def test_answers_are_kept(tmp_path):
    assert Attacked.load(tmp_path / "none.pt") is None
    found = attacked(2)
    found.save(tmp_path / "answers.pt")
    again = Attacked.load(tmp_path / "answers.pt")
    assert again is not None and again.row() == found.row() and again.row()["majority"] == 50


def test_mobilenet_is_tuned_as_in_notebook_09():
    """By the same recipes, so that one may take the other's runs; of more seeds."""
    settings = load_config(find_root()).of("09_antialiasing", "reduced")
    ours, common = fine_tuned(SETTINGS), range(settings.seed, settings.seed + settings.seeds)
    assert {recipe for recipe in ours if recipe.seed in common} <= set(recipes_of_09(settings))
    assert len(ours) == len(SETTINGS.tuned_methods) * SETTINGS.tuned_seeds


def test_mass_against_random_shifts_is_one_family_over_all_numbers_of_images():
    same = {"dataset": "d", "net": "n"}
    printed = {"MASS": 80, METHODS["baseline-shifts"].printed: 70, "Baseline": 0}
    rows = [
        same | {"method": method, "seed": seed, "images": images, "top1": value + seed + images % 7 * seed}
        for images in (30, 1968) for seed in range(3) for method, value in printed.items()
    ]  # fmt: skip
    found = solar_cells.against_shifts(rows, "baseline-shifts", {"in place": "top1"})
    assert [row["input"] for row in found] == ["in place, 30 images", "in place, 1,968 images"]
    assert all(row["seed_difference"] == 10 and row["seeds"] == 3 for row in found)
    assert solar_cells.against_shifts([], "baseline-shifts", {"in place": "top1"}) == []


def test_mobilenet_of_few_images_takes_the_same_steps(monkeypatch, tmp_path):
    """A run of every method, seed and number of images; all data sets have as many training images, few of them different."""
    asked = []
    monkeypatch.setattr(solar_cells, "_found", lambda made, root, folder: asked.extend(made) or [])
    monkeypatch.setattr(solar_cells, "labelled", lambda name, root: type("Set", (), {"count": 1968}))
    assert solar_cells.fine_tuned_on_few(SETTINGS, tmp_path, tmp_path) == []
    sets = dict.fromkeys(recipe.dataset for recipe in asked)
    assert list(sets) == [*(f"solar-cells-{count}-images" for count in SETTINGS.tuned_few), "solar-cells"]
    assert len(asked) == len(sets) * len(SETTINGS.tuned_methods) * SETTINGS.tuned_few_seeds
    assert {recipe.epochs for recipe in asked} == {SETTINGS.tuned_few_epochs}


def test_cells_that_are_not_scaled_are_asked_in_some_methods(monkeypatch, tmp_path):
    """A run of every method and seed; MASS is compared with the others over seeds."""
    monkeypatch.setattr(solar_cells, "_found", lambda made, root, folder: [
        about(recipe) | {"n": 656, "top1": recipe.seed, "shifted_top1": 1.0, "consistency": 100.0} for recipe in made
    ])  # fmt: skip
    settings = replace(SETTINGS, cut_seeds=2)
    runs, gains = solar_cells.fine_tuned_cut(settings, tmp_path, tmp_path)
    assert len(runs) == len(settings.cut_methods) * 2
    assert {row["dataset"] for row in runs} == {"solar-cells-288"}
    assert {row["stage"] for row in gains} == {"fine-tuned, 288 pixels, paired"}
    assert len({row["against"] for row in gains}) == len(SETTINGS.cut_methods) - 1
