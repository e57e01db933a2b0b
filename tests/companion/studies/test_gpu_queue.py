"""A piece of GPU time, rehearsed on the CPU: what is finished is there, what is not goes on, and training is training."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.core.published import PROVENANCE, records_of
from companion.data.datasets import DATASETS
from companion.pipeline.settings import load_config
from companion.studies.gpu.__main__ import main
from companion.studies.gpu.book import Book
from companion.studies.gpu.contest import Quiet
from companion.studies.gpu.queue import EPOCHS, FULL, GROUPS, of_epochs, recipes
from companion.training.captured import Captured, Program
from companion.training.checkpoint import load_tensors
from companion.training.recipe import Recipe
from companion.training.side_by_side import SideBySide
from companion.training.train import Training

DIGITS = {"net": "digits", "dataset": "digits", "batch": 64}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Where equal means equal bits."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits():
    return DATASETS["digits"](Path())


def trained(recipe, digits):
    run = Captured(recipe, Program(recipe, digits, CPU, compiled=False))
    run.capture()  # nothing, without CUDA
    while run.done < run.total:
        run.ask()
        run.settle(1)
    run.settle()
    return run


@pytest.mark.parametrize(
    ("method", "precision"), [("mass", "float32"), ("aps", "bfloat16"), ("baseline-shifts", "bfloat16")]
)
def test_a_captured_run_is_that_of_train_bit_for_bit(digits, method, precision):
    recipe = Recipe(**DIGITS, method=method, precision=precision, epochs=2, seed=3)
    training = Training(recipe, digits, Path())
    while training.done < training.total:
        training.epoch(lambda *told: None)
    run = trained(recipe, digits)
    expected, found = training.model.state_dict(), run.state()
    assert list(map(str, sorted(expected))) == sorted(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for theirs, ours in zip(training.curve, run.curve(), strict=True):
        assert (theirs["loss"], theirs["train_top1"]) == (ours["loss"], ours["train_top1"])


def test_seeds_share_a_program_and_nothing_else(digits):
    first, second = (Recipe(**DIGITS, method="mass", precision="float32", epochs=1, seed=seed) for seed in (0, 1))
    program = Program(first, digits, CPU, compiled=False)
    runs = [Captured(recipe, program) for recipe in (first, second)]
    while runs[0].done < runs[0].total:
        for run in runs:
            run.ask()
    for run, recipe in zip(runs, (first, second), strict=True):
        alone = trained(recipe, digits).state()
        assert all(torch.equal(alone[name], tensor) for name, tensor in run.state().items())


def side_by_side(digits, folder, left):
    said, done = [], []
    side = SideBySide(digits, folder, folder, CPU, 2, left, lambda drain: False, done.append, said.append, False)
    return side, said, done


def test_what_time_has_cut_short_goes_on_and_ends_as_if_it_had_not(digits, tmp_path):
    recipe = Recipe(**DIGITS, method="mass", precision="float32", epochs=2)
    asked = iter([100.0] * 12)  # several times a part of an epoch
    side, _, done = side_by_side(digits, tmp_path, lambda: next(asked, 0.0))
    assert side.run([recipe]) == [recipe] and not done
    kept = load_tensors(tmp_path / recipe.name / "checkpoint.pt")
    assert 0 < kept["done"] < 40

    side, _, done = side_by_side(digits, tmp_path, lambda: 100.0)
    assert side.run([recipe]) == []
    weights, whole = load_tensors(tmp_path / recipe.name / "weights.pt"), trained(recipe, digits).state()
    assert all(torch.equal(weights[name], tensor) for name, tensor in whole.items())
    assert done[0]["consistency"] == 100 and done[0]["captured"] is False
    assert sorted(path.name for path in (tmp_path / recipe.name).iterdir()) == [
        "curve.json", "recipe.json", "record.json", "spells.json", "weights.pt"
    ]  # fmt: skip
    side, _, done = side_by_side(digits, tmp_path, lambda: 100.0)
    assert side.run([recipe]) == [] and not done  # it is not trained again


def test_a_run_of_another_recipe_is_not_gone_on_from(digits, tmp_path):
    recipe = Recipe(**DIGITS, method="mass", precision="float32", epochs=2)
    other = replace(recipe, lr=0.001, weight_decay=0.1)
    asked = iter([100.0] * 12)
    side_by_side(digits, tmp_path, lambda: next(asked, 0.0))[0].run([recipe])
    kept = tmp_path / recipe.name / "checkpoint.pt"
    before = kept.read_bytes()
    side, said, done = side_by_side(digits, tmp_path, lambda: 100.0)
    assert side.run([other]) == [other] and not done and kept.read_bytes() == before
    assert any(
        "holds a run of another recipe (lr 0.2, not 0.001; weight_decay 0.0005, not 0.1)" in line for line in said
    )
    assert side.run([recipe]) == [] and len(done) == 1
    with pytest.raises(Refusal, match="holds a run of another recipe"):
        side.run([other])


class Stub:
    """A run of which a loss is no longer finite, or is."""

    def __init__(self, seed, fails):
        self.recipe, self.fails = Recipe(**DIGITS, method="mass", seed=seed), fails
        self.done, self.steps, self.total = 0, 1, 9

    def ask(self):
        self.done += 1

    def settle(self, but=0):
        if self.fails and not but:
            raise Refusal("The loss is nan")

    def checkpoint(self):
        return {}


def test_a_run_whose_loss_is_not_finite_ends_alone(digits, tmp_path):
    """Also where it shows only when the device is waited for, or at the end."""
    side, said, _ = side_by_side(digits, tmp_path, lambda: 0.0)
    side.give_way = lambda drain: drain() is None
    side._active = [Stub(0, fails=True), Stub(1, fails=False)]
    side._train_a_part()
    assert [run.fails for run in side._active] == [False] and said == ["The loss is nan"]
    side._active = [Stub(0, fails=True), Stub(1, fails=False)]
    side.run([])
    assert [path.parent.name for path in tmp_path.rglob("checkpoint.pt")] == ["seed-1"]


def test_nothing_is_begun_that_does_not_fit(digits, tmp_path):
    one, other = (Recipe(**DIGITS, method="mass", precision="float32", epochs=1, seed=seed) for seed in (0, 1))
    side, _, done = side_by_side(digits, tmp_path, lambda: 100.0)
    side.width, side.epochs_per_s = 1, 1 / 97.5  # one is expected to need 97.5 seconds, and 2 to be measured
    assert side.run([one]) == []
    side.left = lambda: 99.0
    assert side.run([one, other]) == [other] and len(done) == 1
    assert not (tmp_path / other.name).exists()


def test_whoever_measures_has_the_device_alone():
    quiet, order, measured = Quiet(), [], threading.Event()

    def measure():
        with quiet.hold():
            order.append("measured")
        measured.set()

    with quiet.training():
        assert not quiet.give_way(lambda: order.append("never"))
        thread = threading.Thread(target=measure)
        thread.start()
        while not quiet.give_way(lambda: order.append("drained")):
            pass
    assert measured.wait(5) and order == ["drained", "measured"]


def test_narrow_convolutions(run_triton):
    run_triton(Path(__file__).with_name("narrow_kernels.py"))


def test_the_queue_trains_mass_beside_aps_before_anything_else():
    methods = tuple(method for group in GROUPS for method in group)
    names = [(recipe.method, recipe.seed) for recipe in recipes(FULL, methods, (0, 1))]
    assert names[:6] == [("aps", 0), ("mass", 0), ("aps", 1), ("mass", 1), ("baseline", 0), ("baseline", 1)]
    assert len(names) == 18 and all(recipe.epochs == 250 for recipe in recipes(FULL, methods, (0,)))


def test_fewer_epochs_belong_to_another_table():
    assert of_epochs(250) == FULL
    for epochs, profile in EPOCHS.items():
        assert of_epochs(epochs).notebook_profile == profile
        assert load_config(find_root()).of("05_cifar10", profile).epochs == epochs
    assert {recipe.epochs for recipe in recipes(of_epochs(13), ("lps-annealed", "aps-lpf3-cifar"), (0, 1))} == {13}


def test_archives_are_few_whole_and_taken_over(tmp_path):
    book = Book(tmp_path / "out", {"device": "cpu", "commit": None}, tmp_path / "bundle")
    book.add("speed", "bench", {"net": "a", "stage": "forward", "milliseconds": 1.5})
    (tmp_path / "out/checkpoints").mkdir()
    torch.save({"a": torch.zeros(2)}, tmp_path / "out/checkpoints/weights.pt")
    book.pack()
    assert sorted(p.name for p in (tmp_path / "bundle").iterdir()) == ["results.tar", "weights-1.tar"]
    later = Book(tmp_path / "later", {"device": "cpu"}, None)
    later.resume(tmp_path / "bundle")
    assert later.holds("speed", "bench", net="a", stage="forward") and not later.holds("speed", "bench", net="b")
    assert (tmp_path / "later/checkpoints/weights.pt").exists()


def test_a_rehearsal_leaves_what_can_be_published(root, tmp_path, monkeypatch, capsys):
    options = ["--device=cpu", "--tiny", "--minutes=2", f"--out={tmp_path / 'out'}", f"--bundle={tmp_path}",
               "--parts", "exactness", "training", "--methods", "mass", "lps-annealed", "--seeds=0", "--jobs=1"]  # fmt: skip
    command = [sys.executable, "-m", "companion.studies.gpu", *options]
    said = subprocess.run(command, check=True, cwd=root, capture_output=True, text=True).stdout
    assert "exactness resnet18 float32 channels first 64x64 eager: 32 of 32" in said and "done" in said
    runs = {path.parent.parent.name: path for path in tmp_path.glob("out/runs/*/*/provenance.json")}
    assert set(runs) == {"quick", "bench"}
    records = [json.loads(path.read_text()) for path in runs["quick"].parent.glob("records/*.json")]
    assert {record["method"] for record in records} == {"MASS", "LPS, annealed"}
    assert set(PROVENANCE) <= set(records_of(runs["quick"].parent)[0])
    assert (tmp_path / "results.tar").exists()
    say(monkeypatch, root, *options)  # again
    said = capsys.readouterr().out
    assert "done" in said and "trained" not in said and "exactness" not in said


def say(monkeypatch, root, *options):
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["companion.studies.gpu", *options])
    main()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "There is no GPU here: `--device cpu --tiny` rehearses."),
        (["--device=cpu"], "On a CPU the queue would take months"),
        (["--device=cpu", "--tiny", "--resume=nothing"], "There is no folder nothing to resume from."),
    ],
)
def test_what_cannot_be_is_one_sentence(root, tmp_path, monkeypatch, options, sentence):
    with pytest.raises(Refusal, match=sentence):
        say(monkeypatch, root, "--minutes=1", f"--out={tmp_path}", *options)
