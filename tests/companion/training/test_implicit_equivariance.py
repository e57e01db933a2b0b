"""Training with the equivariance loss: a run of the loop as any other, and the loss does what it says."""

from pathlib import Path

import pytest
import torch

from companion.core.errors import Refusal
from companion.data.published.digits import rotated_digits
from companion.models.methods import METHODS
from companion.training.recipe import Recipe
from companion.training.record_run import record_run
from companion.training.tasks import task_of
from companion.training.tasks.implicit_equivariance import ImplicitEquivariance
from companion.training.tasks.task import Network
from companion.training.train import Training, learning_rate, train

SMALL = {"net": "ien-tiny8-r4", "method": "baseline-zero", "dataset": "rotated-digits", "epochs": 2, "batch": 64, "lr": 5e-3,
         "schedule": "one-cycle", "optimizer": "adam", "weight_decay": 1e-7, "flip": False, "precision": "float32",
         "transforms": "r4"}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty project to train in."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)
    return tmp_path


def test_the_data_set_decides_the_task(home):
    assert isinstance(task_of(rotated_digits(home), Recipe(**SMALL)), ImplicitEquivariance)


def test_the_cycle_rises_for_a_quarter_falls_and_stays():
    recipe = Recipe(**SMALL)
    rates = [learning_rate(recipe, step, 900) for step in range(900)]
    assert rates[0] == pytest.approx(1e-5) and max(rates) == pytest.approx(5e-3) and rates.index(max(rates)) == 175
    assert rates[700:] == [pytest.approx(1e-5)] * 200
    assert sorted(rates[:176]) == rates[:176] and sorted(rates[175:701], reverse=True) == rates[175:701]


def test_a_stopped_run_goes_on_to_the_same_weights(home):
    recipe = Recipe(**SMALL, beta=1.0)
    whole = torch.load(train(recipe, home, home / "whole") / "weights.pt", weights_only=True)
    training = Training(recipe, rotated_digits(home), home)
    training.epoch(lambda *_: None)
    training.save(home / "stopped" / recipe.name / "checkpoint.pt")
    again = torch.load(train(recipe, home, home / "stopped") / "weights.pt", weights_only=True)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_the_loss_is_cross_entropy_of_both_and_beta_times_the_rest(home):
    data = rotated_digits(home)
    model = METHODS["baseline-zero"].build("ien-tiny8-r4", 0).eval()
    network = Network(lambda images: model(data.normalize(images)), model)
    values = []
    for beta in (0.0, 1.0, 2.0):
        torch.manual_seed(0)  # the same copies
        task = ImplicitEquivariance(data, Recipe(**SMALL, beta=beta))
        loss = task.loss(network, data.train.images[:32], data.train.labels[:32])
        values.append(loss.value.item())
        assert loss.counted == 64
    assert values[1] > values[0] and values[2] - values[1] == pytest.approx(values[1] - values[0], rel=1e-4)


@pytest.mark.parametrize("method", ["baseline-zero", "mass"])
def test_training_with_the_loss_makes_layers_move_along(home, method):
    errors = {}
    for beta in (0.0, 1.0):
        record = record_run(train(Recipe(**SMALL | {"method": method}, beta=beta), home, home), home)
        errors[beta] = [record[f"error_quarter_{layer}"] for layer in range(1, 5)]
        assert record["n"] == 500 and record["worst_step"] <= record["mean_step"]
        assert method != "mass" or record["consistency"] == 100
    assert all(after < before for before, after in zip(errors[0.0], errors[1.0], strict=True))


def test_wrong_recipes_are_refused():
    with pytest.raises(Refusal, match="no transforms named 'r5'"):
        Recipe(**SMALL | {"transforms": "r5"})
    with pytest.raises(Refusal, match="rotated-digits is trained with transformed copies"):
        ImplicitEquivariance(rotated_digits(Path()), Recipe(**SMALL | {"transforms": ""}))
    with pytest.raises(Refusal, match="beta must not be negative"):
        Recipe(**SMALL, beta=-1.0)
    with pytest.raises(Refusal, match="no optimizer named 'lion'"):
        Recipe(**SMALL | {"optimizer": "lion"})
