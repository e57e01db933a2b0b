"""Training: killed or not, in one process or two, it ends in the same weights; what is wrong is one sentence."""

import itertools
import json
import random
import re
import runpy
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
from torch import nn

import companion.training.train
from companion.core.errors import Refusal
from companion.core.files import read_json
from companion.data.datasets import DATASETS
from companion.data.labelled import Labelled, Split
from companion.measures.accuracy import accuracy, right_labels, top1_and_consistency
from companion.training.checkpoint import load_tensors, save_tensors
from companion.training.classification import epoch_batches
from companion.training.recipe import Recipe, from_arguments, to_arguments
from companion.training.record_run import record_run, trained
from companion.training.train import learning_rate, train
from mass.evaluate.consistency import PROTOCOLS

SMALL = {"net": "digits", "dataset": "digits", "batch": 64, "epochs": 3, "precision": "float32"}
STEPS = 1297 // 64  # in an epoch
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


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty project to train in, by one thread of the CPU, where equal means equal bits."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)
    return tmp_path


@pytest.fixture(scope="module")
def digits() -> Labelled:
    return DATASETS["digits"](Path())


@pytest.fixture
def lend(digits, monkeypatch):
    """Spare runs in this process the reading of the digits."""
    monkeypatch.setitem(DATASETS, "digits", lambda root: digits)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs that nothing has stopped, each trained once."""
    folder = tmp_path_factory.mktemp("whole")
    return lambda recipe: train(recipe, folder, folder)


def say(module: str, monkeypatch, *arguments: str) -> str | int | None:
    """Run `python -m module arguments` in this process; returns what it ends with."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, module, raising=False)  # runpy warns of what is imported already
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        return end.code
    return None


def command_line(recipe: Recipe, folder: Path) -> list[str]:
    return [*to_arguments(recipe), f"--checkpoints={folder}"]


def outcome(run: Path) -> tuple[dict[str, torch.Tensor], list[tuple[float, ...]]]:
    """What a finished run must not owe to how often it was started."""
    curve = [
        tuple(point[name] for name in ("loss", "train_top1", "test_top1")) for point in read_json(run / "curve.json")
    ]
    return load_tensors(run / "weights.pt"), curve


def assert_same(run: Path, other: Path) -> None:
    (weights, curve), (others, other_curve) = outcome(run), outcome(other)
    assert list(weights) == list(others)
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert curve == other_curve


def assert_whole(run: Path) -> None:
    """Between two lives of a run: files that can be read, and hidden ones that nobody reads."""
    visible = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    assert visible == {"checkpoint.pt"}
    assert {path.name[:15] for path in run.iterdir()} <= {"checkpoint.pt", ".checkpoint.pt."}
    load_tensors(run / "checkpoint.pt")


# Killed and started again


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
    assert not written() and (run / "record.json").exists()


def test_a_finished_run_is_left_alone(whole, home):
    run = whole(Recipe(**SMALL))
    assert {path.name for path in run.iterdir()} == {"weights.pt", "recipe.json", "curve.json"}
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
    assert not (home / "digits").exists()


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


# Two processes


@pytest.mark.slow
def test_two_processes_are_one_with_two_parts(home, lend):
    """Halves of a batch in two processes, or one after the other in one: each is normalised by its own statistics and
    gradients are averaged, so the parameters agree. Running statistics are no part of this: one process updates them
    twice a batch, two processes once each and then take the mean, and no gradient sees either.
    """
    recipe = Recipe(**SMALL | {"epochs": 2})
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*launch, "companion.train", *command_line(recipe, home / "two")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'consistency'") == 1  # the record, from one of the two
    two = home / "two" / recipe.name
    one = train(Recipe(**asdict(recipe) | {"accumulate": 2}), home, home / "one")

    (weights, curve), (others, other_curve) = outcome(two), outcome(one)
    model, _ = trained(two)
    for name, parameter in model.named_parameters():
        assert torch.linalg.vector_norm(parameter - others[name]) <= 1e-5 * torch.linalg.vector_norm(others[name]), name
    for name, buffer in model.named_buffers():
        if name in weights:
            assert buffer.isfinite().all() and torch.equal(buffer, weights[name]), name
    for (loss, top1, _), (other_loss, other_top1, _) in zip(curve, other_curve, strict=True):
        assert loss == pytest.approx(other_loss, rel=1e-5) and top1 == pytest.approx(other_top1, abs=0.1)


# What a bare machine needs


def test_training_loads_nothing_of_the_papers_machinery():
    """So that a GPU machine with torch, torchvision, numpy and tqdm is enough."""
    heavy = [
        *("dvc", "papermill", "jupytext", "seaborn", "pandas", "sklearn", "matplotlib", "timm", "ruamel", "requests"),
        *("segmentation_models_pytorch", "torchmetrics", "IPython", "ipywidgets"),
    ]
    program = (
        "import runpy, sys, companion.evaluate; sys.argv[1:] = ['--help']\n"
        "try: runpy.run_module('companion.train', run_name='__main__')\n"
        f"finally: print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Train a network of Table 2 or 5" in done.stdout and "--weight-decay" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


# Batches


def pictures(count: int, size: int = 8) -> Split:
    """Random ones, each labelled by its number."""
    return Split(torch.randint(256, (count, 3, size, size), dtype=torch.uint8), torch.arange(count))


def an_epoch(split: Split, epoch: int = 0, **changes) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*epoch_batches(split, Recipe(**SMALL | changes), epoch), strict=True)
    assert {len(batch) for batch in labels} == {64}
    return torch.cat(images), torch.cat(labels)


def test_an_epoch_is_a_permutation_without_its_last_partial_batch():
    split = pictures(1000)
    _, labels = an_epoch(split)
    assert len(labels) == len(labels.unique()) == 960
    assert not torch.equal(labels, labels.sort().values)
    assert set(range(1000)) == set(torch.cat([an_epoch(split, epoch)[1] for epoch in range(4)]).tolist())


def test_an_epoch_is_a_function_of_seed_and_epoch():
    split = pictures(256)
    images, labels = an_epoch(split, 3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, labels_again = an_epoch(split, 3, lr=0.1, epochs=9)
    assert torch.equal(images, again) and torch.equal(labels, labels_again)
    assert torch.equal(torch.get_rng_state(), state)  # nor does it draw from what networks draw from
    assert torch.equal(an_epoch(split, 3, method="baseline-shifts")[1], labels)  # all methods see the same order
    for other in (an_epoch(split, 2), an_epoch(split, 3, seed=1)):
        assert not torch.equal(other[1], labels)


def test_half_of_the_pictures_are_mirrored_each_for_itself():
    split = pictures(1280)
    images, labels = an_epoch(split)
    same = (images == split.images[labels]).flatten(1).all(1)
    mirrored = (images == split.images[labels].flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55
    assert all(0 < batch.sum() < 64 for batch in mirrored.split(64))
    plain, labels = an_epoch(split, flip=False)
    assert torch.equal(plain, split.images[labels])


def test_shifts_in_training_are_circular_and_each_its_own():
    split = pictures(640, size=4)
    images, labels = an_epoch(split, method="baseline-shifts")
    sources = split.images[labels]
    ways = [source.roll((i, j), (2, 3)) for source in (sources, sources.flip(3)) for i in range(4) for j in range(4)]
    found = torch.stack([(images == way).flatten(1).all(1) for way in ways])  # (ways, pictures)
    assert (found.sum(0) == 1).all()
    assert found.any(1).all()  # every shift of either happens


def test_the_learning_rate_falls_at_every_step_from_the_recipes_to_zero():
    recipe = Recipe(lr=0.3)
    rates = [learning_rate(recipe, step, 40) for step in range(41)]
    assert rates[0] == 0.3 and rates[20] == pytest.approx(0.15) and rates[40] == 0
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


# Recipes


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


# Measurements


class Reads(nn.Module):
    """The label is the pixel at (0, 0), if that is a whole number, else 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixel = x[:, 0, 0, 0]
        return nn.functional.one_hot(torch.where(pixel == pixel.round(), pixel, 0).long(), 2).float()


class Turns:
    """A protocol that does not draw: the first shift of a batch is by (0, 1), the second by (1, 1)."""

    def __init__(self) -> None:
        self.row = 1

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        self.row = 1 - self.row
        return torch.tensor([[self.row, 1]]).expand(count, 2)


# A picture's pixels (0, 0), (0, 1) and (1, 1), which are its labels before and after the shifts; and the true one.
READ = [(0, 0, 0, 0), (1, 0, 0, 1), (1, 1, 0, 1), (1, 1, 0, 1), (0, 0, 1, 1)]


@pytest.mark.parametrize("batch", [5, 2])
def test_percentages_are_of_all_pictures(monkeypatch, batch):
    monkeypatch.setitem(PROTOCOLS, "turns", Turns())
    images = torch.tensor([[[[a, b], [0, c]]] for a, b, c, _ in READ]).float()
    split = Split(images, torch.tensor([label for *_, label in READ]))
    model = Reads().train()
    expected = {"n": 5, "top1": 80.0, "shifted_top1": 60.0, "consistency": 40.0}
    assert top1_and_consistency(model, split.batches(batch), protocol="turns") == expected
    assert right_labels(model, split.batches(batch)).tolist() == [True, True, True, True, False]
    assert accuracy(model, split.batches(batch)) == 80.0
    assert accuracy(model, split.batches(batch), prepare=lambda images: 1 - images) == 20.0
    assert model.training


def test_a_record_is_made_once_and_says_where_it_comes_from(home, lend, monkeypatch, capsys):
    run = train(Recipe(**SMALL | {"epochs": 1}), home, home)
    assert say("companion.evaluate", monkeypatch, str(run)) is None
    record = json.loads((run / "record.json").read_text())
    assert str(record["top1"]) in capsys.readouterr().out
    assert not list(run.glob(".*"))
    for name in ("top1", "shifted_top1", "consistency"):
        assert 0 <= record[name] <= 100
    assert record["consistency"] == 100  # it is MASS
    facts = {"net": "digits", "method": "mass", "seed": 0, "epochs": 1, "n": 500, "protocol": "mass", "commit": None}
    assert record | facts == record
    assert record["parameters"] == 5122
    assert record["train_seconds"] > 0 and record["images_per_s"] > 0
    assert {"torch", "python", "device", "cpu", "threads", "started"} <= set(record)
    assert all(isinstance(value, str | int | float | None) for value in record.values())  # flat

    (run / "record.json").write_text('{"top1": 1}')
    assert record_run(run, home) == {"top1": 1}  # it is not measured again


def test_measuring_says_what_it_wants(home, monkeypatch):
    assert say("companion.evaluate", monkeypatch) == "Which runs? Name their folders."
    end = say("companion.evaluate", monkeypatch, "nothing")
    assert end == "nothing holds no finished run: train it first (python -m companion.train)."


# Data


def test_pictures_are_normalised_in_their_own_memory_format(digits):
    normal = digits.normalize(digits.train.images)
    assert normal.dtype == torch.float32 and abs(normal.mean()) < 0.01 and abs(normal.std() - 1) < 0.01
    data = Labelled(digits.train, digits.test, (0.0, 0.2, 0.4), (1.0, 0.5, 0.1))
    images = torch.tensor([0, 51, 102], dtype=torch.uint8)[None, :, None, None].repeat(2, 1, 4, 4)
    assert data.normalize(images).abs().max() < 1e-6  # each channel's own mean
    assert torch.allclose(data.normalize(images + 51)[0, :, 0, 0], torch.tensor([0.2, 0.4, 2.0]))
    for memory in (torch.contiguous_format, torch.channels_last):
        assert data.normalize(images.contiguous(memory_format=memory)).is_contiguous(memory_format=memory)


def test_a_data_set_that_is_not_there_says_how_to_get_it(home):
    with pytest.raises(Refusal, match="CIFAR-10 is not in data/cifar10: run `make fetch DATA=cifar10`"):
        train(Recipe(), home, home)


def test_the_digits_are_all_there_and_in_no_order(digits):
    assert (len(digits.train), len(digits.test)) == (1297, 500)
    assert digits.train.images.shape == (1297, 1, 8, 8) and digits.train.images.max() == 255
    assert all(split.labels.bincount().min() > len(split) / 20 for split in (digits.train, digits.test))
    images, labels = zip(*digits.test.batches(300), strict=True)
    assert [len(part) for part in images] == [300, 200]
    assert torch.equal(torch.cat(labels), digits.test.labels)
