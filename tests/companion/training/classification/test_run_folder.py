"""The folder of a run: one process at a time, and one sentence for what is wrong with it."""

import json
import shutil
import subprocess
import sys
import time

import pytest
from digit_runs import SMALL, assert_same, command_line, say

from companion.core.errors import Refusal
from companion.data.datasets import DATASETS
from companion.training.checkpoint import load_tensors, save_tensors
from companion.training.recipe import Recipe
from companion.training.record_run import record_run
from companion.training.run_folder import alone
from companion.training.train import Training, train


def test_a_second_process_is_refused_and_the_first_is_not_disturbed(home, lend, whole, monkeypatch):
    recipe = Recipe(**SMALL | {"epochs": 9})
    run = home / recipe.name
    command = [sys.executable, "-m", "companion.train", *command_line(recipe, home)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (run / ".lock").exists():
        assert first.poll() is None
        time.sleep(0.01)
    end = say("companion.train", monkeypatch, *command_line(recipe, home))
    assert end == f"Training or measuring in {run} is already running in another process: wait for it, or end it."
    assert first.wait() == 0
    assert_same(run, whole(recipe))


def test_a_finished_run_is_taken_and_not_measured_while_another_process_is_there(home, whole):
    recipe = Recipe(**SMALL)
    run = shutil.copytree(whole(recipe), home / recipe.name)
    with alone(run):
        assert train(recipe, home, home) == run and (run / ".lock").exists()
        with pytest.raises(Refusal, match="already running in another process"):
            record_run(run, home)
    assert not (run / ".lock").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_an_epoch(home, lend, monkeypatch):
    recipe = Recipe(**SMALL)
    (home / "digits/digits").mkdir(parents=True)
    (home / "digits/digits/mass").touch()
    monkeypatch.setattr(Training, "epoch", lambda *_: pytest.fail("it trains"))
    with pytest.raises(
        Refusal, match=r"seed-0/.lock cannot be written \(Not a directory\): mend that, or name another"
    ):
        train(recipe, home, home)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("recipe.json", None, "seed-0 has weights without recipe.json: take it from where they come from"),
        ("curve.json", None, "seed-0 has weights without curve.json: take it from where they come from"),
        ("recipe.json", {"colour": "red"}, "recipe.json names colour, which no recipe of this version has"),
        ("recipe.json", [], r"recipe.json is broken \(no dict\)"),
        ("curve.json", {}, r"curve.json is broken \(no list\)"),
        ("curve.json", [{"epoch": 1}], "curve.json is no curve of a run"),
        ("spells.json", {}, r"spells.json is broken \(no list\)"),
    ],
)
def test_a_finished_run_without_all_its_files_is_one_sentence(home, lend, whole, name, content, sentence):
    run = shutil.copytree(whole(Recipe(**SMALL)), home / "seed-0")
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(json.dumps(content))
    with pytest.raises(Refusal, match=sentence):
        record_run(run, home)


def test_a_run_of_a_later_recipe_is_not_taken_for_this_one(home, lend, whole):
    recipe = Recipe(**SMALL)
    run = shutil.copytree(whole(recipe), home / recipe.name)
    (run / "recipe.json").unlink()
    with pytest.raises(Refusal, match="has weights without recipe.json"):
        train(recipe, home, home)
    shutil.rmtree(run)
    training = Training(recipe, DATASETS["digits"](home), home)
    training.save(run / "checkpoint.pt")
    state = load_tensors(run / "checkpoint.pt")
    save_tensors(run / "checkpoint.pt", state | {"recipe": state["recipe"] | {"colour": "red"}})
    with pytest.raises(Refusal, match=r"another recipe \(colour 'red', not None\)"):
        train(recipe, home, home)
