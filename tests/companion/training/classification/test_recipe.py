"""Recipes: what is wrong is one sentence, and what is not named is the paper's."""

from pathlib import Path

import pytest
import torch
from digit_runs import SMALL, outcome

import companion.training.train
from companion.core.errors import Refusal
from companion.training.recipe import Recipe, from_arguments
from companion.training.train import train


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"net": "resnet21"}, "no net named 'resnet21'; known: resnet20, resnet18"),
        ({"method": "masss"}, "no method named 'masss'; known: baseline, aps, mass"),
        ({"dataset": "mnist"}, "no dataset named 'mnist'; known: cifar10, digits"),
        ({"precision": "float16"}, "no precision named 'float16'; known: float32, bfloat16"),
        ({"epochs": 0}, "epochs must be positive, not 0"),
        ({"batch": -64}, "batch must be positive, not -64"),
        ({"accumulate": 0}, "accumulate must be positive, not 0"),
        ({"lr": -0.1}, "lr must be positive, not -0.1"),
        ({"momentum": -0.9}, "momentum must not be negative, as -0.9 is"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, as -1.0 is"),
        ({"batch": 2048}, "A batch of 2048 is larger than digits: 1297 training images"),
        ({"accumulate": 3}, "A batch of 64 cannot be divided evenly by 1 processes x 3 parts"),
        ({"net": "resnet20"}, "resnet20 takes images of 3 channels, those of digits have 1"),
        ({"schedule": "linear"}, "no schedule named 'linear'; known: cosine, poly"),
        ({"size": -1}, "size must not be negative, as -1 is"),
        ({"start": "data/none.pt"}, "There are no weights at .*data/none.pt"),
        ({"seed": -1}, "seed must be from 0 to 16,777,215, not -1"),
        ({"seed": 2**70}, "seed must be from 0 to 16,777,215, not 1180591620717411303424"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(home, lend, wrong, sentence):
    with pytest.raises(Refusal, match=sentence):
        train(Recipe(**SMALL | wrong), home, home)
    assert sorted(path.name for path in home.iterdir()) == ["dvc.yaml", "params.yaml"]


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([torch.zeros(3)], r"start.pt holds no weights of a network \(tensors by name\)"),
        ({"state_dict": 3}, r"start.pt holds no weights of a network"),
        ({"linear.weight": "text"}, r"start.pt holds no weights of a network"),
        (
            {"linear.weight": torch.zeros(10, 16)},
            "not the weights of a ResNet of widths 8, 16: Missing key.*conv1.weight",
        ),
        (torch.nn.Linear(2, 2).state_dict(), "not the weights of a ResNet of widths 8, 16: Missing key"),
    ],
)
def test_weights_of_something_else_are_one_sentence(home, lend, weights, sentence):
    torch.save(weights, home / "start.pt")
    with pytest.raises(Refusal, match=sentence):
        train(Recipe(**SMALL, start="start.pt"), home, home)


def test_a_checkpoint_of_something_else_is_one_sentence(home, lend):
    recipe = Recipe(**SMALL)
    (home / recipe.name).mkdir(parents=True)
    torch.save([1], home / recipe.name / "checkpoint.pt")
    with pytest.raises(Refusal, match="checkpoint.pt is no checkpoint of a run: move it away"):
        train(recipe, home, home)


def test_a_batch_is_shared_by_processes_and_parts(home, digits, monkeypatch):
    monkeypatch.setattr(companion.training.train, "_place", lambda: (3, 0, torch.device("cpu")))
    with pytest.raises(Refusal, match="A batch of 64 cannot be divided evenly by 3 processes x 2 parts"):
        companion.training.train.Training(Recipe(**SMALL, accumulate=2), digits, home)


def test_a_command_line_without_options_is_the_papers_recipe():
    recipe, rest = from_arguments("", [])
    assert recipe == Recipe() and not rest.compile
    assert (recipe.lr, recipe.epochs, recipe.batch, recipe.momentum, recipe.weight_decay) == (0.2, 250, 256, 0.9, 5e-4)
    assert recipe.name == "cifar10/resnet20/mass/250-epochs/seed-0"
    recipe, rest = from_arguments("", ["--start=a/b.pt", "--checkpoints=there"])  # short for --start-from
    assert recipe.name == "cifar10/resnet20/mass/250-epochs-from-b/seed-0" and rest.checkpoints == Path("there")


def test_a_run_can_start_from_the_weights_of_another(home, lend):
    first = train(Recipe(**SMALL | {"epochs": 1}), home, home)
    start = str((first / "weights.pt").relative_to(home))
    second = train(Recipe(**SMALL | {"epochs": 1, "lr": 1e-9, "start": start}), home, home)
    assert second != first
    (weights, _), (others, _) = outcome(first), outcome(second)
    assert all(torch.allclose(weights[name], others[name], atol=1e-6) for name in weights if name.endswith("weight"))
