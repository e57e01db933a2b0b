"""A record says by which code and where its network was trained, whoever measures it later."""

import json
import shutil

import pytest
from digit_runs import SMALL, STEPS, assert_same

import companion.training.record_run
import companion.training.train
from companion.core.files import read_json
from companion.core.provenance import provenance
from companion.training.checkpoint import load_tensors, save_tensors
from companion.training.recipe import Recipe
from companion.training.record_run import record_run
from companion.training.spells import extended, told
from companion.training.train import learning_rate, train

GPU = {"commit": "a" * 40, "modified": False, "device": "NVIDIA H200", "cpu": "Xeon", "torch": "2.11", "started": "1st"}
CPU = {"commit": "b" * 40, "modified": False, "device": "cpu", "cpu": "AMD EPYC", "torch": "2.15", "started": "2nd"}


@pytest.fixture
def at(home, monkeypatch):
    """Makes the code another: a commit, and whether it was changed since."""

    def change(commit: str, modified: bool | None) -> None:
        facts = provenance(home) | {"commit": commit, "modified": modified}
        for module in (companion.training.train, companion.training.record_run):
            monkeypatch.setattr(module, "provenance", lambda root: facts)

    return change


def stop_at(step_to_stop: int, monkeypatch):
    def stopping(recipe: Recipe, step: int, steps: int) -> float:
        if step == step_to_stop:
            raise KeyboardInterrupt
        return learning_rate(recipe, step, steps)

    monkeypatch.setattr(companion.training.train, "learning_rate", stopping)


def test_spells_are_told_in_turn():
    spells = extended(extended([], GPU, 1), CPU, 7)
    facts = told(spells, CPU)
    assert facts["trained_on"] == "NVIDIA H200 to epoch 6, then AMD EPYC"
    assert facts["trained_commit"] == f"{'a' * 40} to epoch 6, then {'b' * 40}"
    assert (facts["trained_started"], facts["modified"]) == ("1st", False)
    assert extended(spells, CPU | {"started": "3rd"}, 9) == spells  # nothing else is true of the epochs that follow
    again = told(extended(spells, CPU | {"torch": "2.16"}, 9), CPU)
    assert again == facts  # a spell of its own, and told alike
    assert told(extended(spells, GPU, 10), CPU)["trained_on"].endswith("AMD EPYC to epoch 9, then NVIDIA H200")


def test_a_record_is_modified_if_its_training_or_its_measuring_was():
    for of_training, of_measuring, expected in (
        (True, False, True),
        (False, True, True),
        (False, False, False),
        (None, False, None),
        (None, True, True),
    ):
        spells = extended([], GPU | {"modified": of_training}, 1)
        assert told(spells, CPU | {"modified": of_measuring})["modified"] is expected


def test_changes_that_are_taken_back_while_it_trains_are_told(home, lend, at, monkeypatch):
    at("dirty", True)
    tidied = companion.training.train.Training.save

    def save(training, path):
        at("clean", False)
        tidied(training, path)

    monkeypatch.setattr(companion.training.train.Training, "save", save)
    record = record_run(train(Recipe(**SMALL), home, home), home)
    assert (record["commit"], record["trained_commit"], record["modified"]) == ("clean", "dirty", True)


def test_a_run_that_was_stopped_and_goes_on_by_other_code_tells_of_both(home, lend, at, whole, monkeypatch):
    recipe = Recipe(**SMALL)
    at("dirty", True)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        stop_at(STEPS + 3, patched)
        train(recipe, home, home)
    at("clean", False)
    run = train(recipe, home, home)
    assert_same(run, whole(recipe))
    assert [(spell["commit"], spell["from_epoch"]) for spell in read_json(run / "spells.json")] == [
        ("dirty", 1),
        ("clean", 2),
    ]
    record = record_run(run, home)
    assert record["trained_commit"] == "dirty to epoch 1, then clean" and record["modified"] is True
    assert record["trained_on"] == record["cpu"]


def test_of_what_was_trained_before_spells_were_kept_nothing_is_told(home, lend, at, whole, monkeypatch):
    recipe = Recipe(**SMALL)
    at("now", False)
    run = shutil.copytree(whole(recipe), home / recipe.name)
    (run / "spells.json").unlink()
    record = record_run(run, home)
    assert {record[name] for name in ("trained_commit", "trained_on", "trained_started", "modified")} == {None}
    assert record["commit"] == "now"

    shutil.rmtree(run)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        stop_at(STEPS + 3, patched)
        train(recipe, home, home)
    state = load_tensors(run / "checkpoint.pt")
    del state["spells"]
    save_tensors(run / "checkpoint.pt", state)
    record = record_run(train(recipe, home, home), home)
    assert record["trained_commit"] == "unknown to epoch 1, then now" and record["modified"] is None
    assert_same(run, whole(recipe))


def test_whoever_ends_a_run_that_lacks_no_epoch_did_not_train_it(home, lend, at, monkeypatch):
    recipe = Recipe(**SMALL)
    at("trains", False)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(companion.training.train, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, home, home)
    at("ends", True)
    run = train(recipe, home, home)
    assert [spell["commit"] for spell in json.loads((run / "spells.json").read_text())] == ["trains"]
