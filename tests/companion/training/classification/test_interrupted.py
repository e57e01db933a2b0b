"""A run that is killed, stopped or damaged ends in the weights of one that was not, or in one sentence."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from digit_runs import SMALL, STEPS, assert_same, command_line, say

import companion.training.train
from companion.core.errors import Refusal
from companion.core.files import read_json
from companion.data.datasets import DATASETS
from companion.training.checkpoint import load_tensors, save_tensors
from companion.training.recipe import Recipe
from companion.training.train import learning_rate, train

FINISHED = {"weights.pt", "recipe.json", "curve.json", "spells.json"}
KILLED_WHILE_WRITING = """
import os, runpy, signal
rename, written = os.replace, []
def replace(source, target):
    written.append(os.path.basename(target))
    if written.count("checkpoint.pt") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = replace
runpy.run_module("companion.train", run_name="__main__")
"""


def assert_whole(run: Path) -> None:
    """Between two lives of a run: files that can be read, and hidden ones that nobody reads."""
    visible = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    assert visible == {"checkpoint.pt"}
    assert {path.name[:15] for path in run.iterdir()} <= {"checkpoint.pt", ".checkpoint.pt.", ".lock"}
    load_tensors(run / "checkpoint.pt")


@pytest.mark.parametrize(
    ("method", "precision"),
    [("mass", "float32"), ("lps", "bfloat16"), ("baseline-shifts", "float32"), ("aps", "bfloat16")],
)
def test_a_run_stopped_at_any_step_is_taken_up_as_if_it_had_not(home, lend, whole, monkeypatch, method, precision):
    recipe = Recipe(**SMALL | {"method": method, "precision": precision})
    stops = [STEPS - 1, STEPS, 2 * STEPS + 7]  # an epoch's last step, one's first, and one in between

    def stopping(recipe: Recipe, step: int, steps: int) -> float:
        if step in stops:
            stops.remove(step)
            raise KeyboardInterrupt
        return learning_rate(recipe, step, steps)

    expected = whole(recipe)
    monkeypatch.setattr(companion.training.train, "learning_rate", stopping)
    while stops:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, home, home)
        torch.rand(99)  # whatever else draws at random
    assert_same(train(recipe, home, home), expected)


def test_a_kill_while_a_checkpoint_is_written_loses_an_epoch_and_nothing_else(home, lend, whole):
    recipe = Recipe(**SMALL | {"method": "lps", "precision": "bfloat16"})
    program = [sys.executable, "-c", KILLED_WHILE_WRITING, *command_line(recipe, home)]
    assert subprocess.run(program, check=False, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    run = home / recipe.name
    assert_whole(run)
    assert len(list(run.glob(".checkpoint.pt.*"))) == 1  # what the kill left
    assert len(load_tensors(run / "checkpoint.pt")["curve"]) == 1
    assert_same(train(recipe, home, home), whole(recipe))
    assert {path.name for path in run.iterdir()} == FINISHED


@pytest.mark.parametrize("left", [".lock", "checkpoint.pt", ".checkpoint.pt.abcd_123", ".weights.pt.a1b2c3d4"])
def test_what_a_kill_leaves_goes_with_the_next_start(home, lend, whole, left):
    """Also of one that came between the weights and the end of their checkpoint."""
    recipe = Recipe(**SMALL)
    run = shutil.copytree(whole(recipe), home / recipe.name)
    (run / left).touch()
    assert train(recipe, home, home) == run
    assert {path.name for path in run.iterdir()} == FINISHED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "precision"), [("lps", "bfloat16"), ("mass", "float32"), ("baseline-shifts", "bfloat16")]
)
def test_kills_at_random_moments_change_nothing(home, lend, whole, method, precision):
    recipe = Recipe(**SMALL | {"method": method, "precision": precision, "epochs": 6})
    command = [sys.executable, "-m", "companion.train", *command_line(recipe, home)]
    run, moments, kills = home / recipe.name, random.Random(0), 0

    def written() -> int:
        with suppress(FileNotFoundError):
            return (run / "checkpoint.pt").stat().st_mtime_ns
        return 0

    while kills < 3:
        before = written()
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while started.poll() is None and written() <= before:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.1))
        started.kill()
        started.wait()
        if (run / "weights.pt").exists():  # it was faster: from the start
            shutil.rmtree(run)
        else:
            assert_whole(run)
            kills += 1
    subprocess.run(command, check=True, capture_output=True)
    assert_same(run, whole(recipe))
    assert {path.name for path in run.iterdir()} == {*FINISHED, "record.json"}


def test_a_finished_run_is_left_alone(whole, home):
    run = whole(Recipe(**SMALL))
    assert {path.name for path in run.iterdir()} == FINISHED
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.iterdir()}
    assert whole(Recipe(**SMALL)) == run
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.iterdir()} == before
    assert Recipe(**read_json(run / "recipe.json")) == Recipe(**SMALL)


def test_a_run_of_another_recipe_is_not_taken_for_this_one(home, lend, whole):
    whole(Recipe(**SMALL))
    recipe, other = (Recipe(**SMALL, lr=lr, flip=lr == 0.2) for lr in (0.2, 0.1))
    training = companion.training.train.Training(recipe, DATASETS["digits"](home), home)
    training.save(home / recipe.name / "checkpoint.pt")
    for run in (whole, lambda recipe: train(recipe, home, home)):  # a finished one, and one to go on with
        with pytest.raises(Refusal, match=r"another recipe \(lr 0.2, not 0.1; flip True, not False\): move it away"):
            run(other)


def test_what_a_recipe_did_not_know_yet_had_the_value_it_has_by_default(home, whole):
    recipe = Recipe(**SMALL)
    run = shutil.copytree(whole(recipe), home / recipe.name)
    (run / "recipe.json").write_text(json.dumps({name: v for name, v in asdict(recipe).items() if name != "start"}))
    assert train(recipe, home, home) == run


@pytest.mark.parametrize("damage", [b"", b"hello world", b"\x80\x02}q\x00.", "half", "other"])
def test_a_damaged_checkpoint_is_one_sentence(home, lend, damage):
    path = home / Recipe(**SMALL).name / "checkpoint.pt"
    save_tensors(path, {"model": {"weight": torch.zeros(99)}})
    content = path.read_bytes()
    path.write_bytes({"half": content[: len(content) // 2], "other": content[::-1]}.get(damage, damage))
    with pytest.raises(Refusal, match=r"checkpoint.pt is damaged or holds no tensors \(\w+\): move it away.$"):
        train(Recipe(**SMALL), home, home)


# Losses that are no numbers


def test_a_rate_too_large_ends_in_a_sentence(home, lend, monkeypatch):
    end = say("companion.train", monkeypatch, *command_line(Recipe(**SMALL, lr=1e8), home))
    sentence = r"The loss is (nan|inf) at step 20 of epoch 1, learning rate 7.72e\+07: try a smaller --lr\."
    assert re.match(sentence, str(end))  # sys.exit prints a text, and the status is 1
    assert not [path for path in (home / "digits").rglob("*") if path.is_file()]


def test_epochs_before_the_loss_was_lost_are_kept(home, lend, whole, monkeypatch):
    recipe = Recipe(**SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(
            companion.training.train,
            "learning_rate",
            lambda recipe, step, steps: learning_rate(recipe, step, steps) if step < 2 * STEPS else 1e8,
        )
        with pytest.raises(Refusal, match=r"at step 20 of epoch 3, learning rate 1e\+08.*The epochs before are kept"):
            train(recipe, home, home)
    curve = load_tensors(home / recipe.name / "checkpoint.pt")["curve"]
    assert [point["epoch"] for point in curve] == [1, 2]
    assert_same(train(recipe, home, home), whole(recipe))
