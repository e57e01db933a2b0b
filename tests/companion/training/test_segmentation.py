"""Segmentation: pictures and labels move together, mIoU pools pixels, a run goes on where it stopped."""

import copy
import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import companion.training.train
from companion.core.errors import Refusal
from companion.core.files import read_json
from companion.data.datasets import DATASETS
from companion.data.generated.scenes import Scenes
from companion.data.published.voc import CLASSES, IGNORED, Voc, palette
from companion.data.segmented import Segmented
from companion.figures.masks import disagreements
from companion.models.antialias import FILTERS, antialias
from companion.models.methods import METHODS
from companion.models.random_weights import calibrate
from companion.pipeline.settings import load_config
from companion.studies.segmentation.figures import (
    examples,
    learning_curves,
    table_of_runs,
)
from companion.studies.segmentation.recipes import table_5_recipes
from companion.training.checkpoint import load_tensors, save_tensors
from companion.training.recipe import Recipe, to_arguments
from companion.training.record_run import record_run, trained
from companion.training.tasks.segmentation import Segmentation
from companion.training.train import Training, learning_rate, train

ROOT = Path(__file__).parents[3]
SMALL = {"net": "deeplabv3plus-scenes", "dataset": "scenes", "batch": 4, "epochs": 1, "iterations": 5, "size": 32,
         "lr": 0.05, "schedule": "poly", "encoder_lr": 0.1, "precision": "float32"}  # fmt: skip


class Halves(torch.utils.data.Dataset):
    """Pictures (3, 40, 64): the left half is black and 1, the right half white and 2."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.ones(40, 64, dtype=torch.uint8)
        labels[:, 32:] = 2
        return (labels - 1).mul(255).expand(3, -1, -1).clone(), labels


@pytest.fixture(scope="module")
def halves() -> Segmented:
    return Segmented(Halves(12), Halves(5), ("none", "black", "white"), full=64)


@pytest.fixture(scope="module")
def scenes() -> Segmented:
    return Segmented(Scenes(8, seed=0), Scenes(4, seed=1), ("background", *"0123456789"), 64)


@pytest.fixture
def home(tmp_path, monkeypatch, scenes) -> Path:
    """An empty project, one thread, and few scenes."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(DATASETS, "scenes", lambda root: scenes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def an_epoch(data: Segmented, epoch: int = 0, rank: int = 0, world: int = 1, **changes):
    parts = list(Segmentation(data, Recipe(**SMALL | changes)).parts(epoch, rank, world))
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


# Crops


def test_labels_are_cropped_scaled_and_flipped_with_their_picture(halves):
    images, labels = an_epoch(halves)
    assert images.shape == (12, 3, 32, 32) and images.dtype == torch.uint8
    assert labels.shape == (12, 32, 32) and set(labels.unique().tolist()) <= {1, 2, IGNORED}
    for image, mask in zip(images, labels, strict=True):
        dark, bright = (image < 16).all(0), (image > 239).all(0)
        assert not (mask[bright] == 1).any() and not (mask[dark] == 2).any()
        inside = mask != IGNORED
        assert (dark | bright)[inside].float().mean() > 0.7  # between them, a scaled edge
        grey = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None]
        assert (image[:, ~inside] == grey).all()


def test_an_epoch_is_a_function_of_seed_and_epoch_alone(halves):
    images, labels = an_epoch(halves, 3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = an_epoch(halves, 3, method="baseline", lr=1.0)
    assert torch.equal(images, again[0]) and torch.equal(labels, again[1])
    assert torch.equal(torch.get_rng_state(), state)
    for other in (an_epoch(halves, 4), an_epoch(halves, 3, seed=1)):
        assert not torch.equal(other[0], images)


def test_processes_and_parts_share_a_batch(halves):
    whole, _ = an_epoch(halves)
    shares = [an_epoch(halves, rank=rank, world=2)[0] for rank in (0, 1)]
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), whole)
    halved, _ = an_epoch(halves, accumulate=2)
    assert torch.equal(halved.view(3, 2, 2, 3, 32, 32).transpose(1, 2).reshape(whole.shape), whole)


def test_shifts_in_training_move_labels_along(scenes):
    images, labels = an_epoch(scenes, size=64)
    moved, moved_labels = an_epoch(scenes, size=64, method="baseline-shifts")
    for image, mask, other, other_mask in zip(images, labels, moved, moved_labels, strict=True):
        by = [s for s in itertools.product(range(64), repeat=2) if torch.equal(mask.roll(s, (0, 1)), other_mask)]
        assert any(torch.equal(image.roll(s, (1, 2)), other) for s in by)


def test_test_pictures_are_whole_and_framed(halves):
    image, labels = halves.framed(0, 64)
    assert image.shape == (3, 64, 64) and labels.dtype == torch.int64
    assert (labels[:12] == IGNORED).all() and (labels[52:] == IGNORED).all()
    assert (labels[12:52, :32] == 1).all() and (labels[12:52, 32:] == 2).all()
    small, small_labels = halves.framed(0, 32)  # pictures are scaled alike
    assert small.shape == (3, 32, 32) and (small_labels != IGNORED).sum() == 20 * 32
    assert [len(x) for x, _ in halves.test_batches(32)] == [5]
    with pytest.raises(Refusal, match=r"An image of \(40, 64\) px does not fit the 60 px it is framed in"):
        Segmented(Halves(1), Halves(1), (), full=60).framed(0, 32)


# mIoU


class Says(nn.Module):
    """Answers, whatever it sees, the masks it was given."""

    def __init__(self, masks: torch.Tensor) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(self.masks[: len(x)], 3).movedim(3, 1).float()


def test_miou_pools_pixels_leaves_out_what_is_not_counted_and_classes_that_do_not_occur(halves):
    answers = torch.ones(5, 64, 64, dtype=torch.int64)  # 'black' everywhere, also in the frame, which is not counted
    answers[0, :, 32:] = 2  # but for one picture that is right
    task = Segmentation(halves, Recipe(**SMALL | {"size": 64}))
    score = task.score(Says(answers), halves.normalize, lambda: torch.no_grad())
    black, white = 5 / 9, 1 / 5  # of 5 halves each: 5 of 5 + 4 wrong ones; 1 of 5
    assert score["test_miou"] == pytest.approx(100 * (black + white) / 2, abs=1e-4)


def test_a_network_that_moves_along_has_100_everywhere_and_the_plain_one_has_not(home, scenes):
    recipe = Recipe(**SMALL | {"size": 64})
    found = {}
    for method in ("baseline-zero", "mass"):
        model = calibrate(METHODS[method].build(recipe.net, 0), (64, 64))  # else one label is everywhere the strongest
        found[method] = Segmentation(scenes, recipe).measure(model, "cpu")
    assert {found["mass"][name] for name in ("identical", "mascc_paper", "mascc_lps")} == {100.0}
    plain = found["baseline-zero"]
    assert plain["n"] == 4 and plain["identical"] == 0 and max(plain["mascc_paper"], plain["mascc_lps"]) < 100


# Training


@pytest.mark.parametrize("method", ["mass", "aps", "lpf3"])
def test_a_run_stopped_at_any_step_is_taken_up_as_if_it_had_not(home, monkeypatch, method):
    recipe = Recipe(**SMALL | {"method": method})
    expected = train(recipe, home, home / "whole")
    stops = [1, 2, 4]

    def stopping(recipe: Recipe, step: int, steps: int) -> float:
        if step in stops:
            stops.remove(step)
            raise KeyboardInterrupt
        return learning_rate(recipe, step, steps)

    monkeypatch.setattr(companion.training.train, "learning_rate", stopping)
    while stops:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, home, home)
        torch.rand(99)
    resumed = train(recipe, home, home)
    ours, theirs = load_tensors(resumed / "weights.pt"), load_tensors(expected / "weights.pt")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    curve = read_json(resumed / "curve.json")
    assert [point["epoch"] for point in curve] == [1, 2, 3]  # two, two and one step
    timed = {"seconds", "images_per_s"}
    for point, other in zip(curve, read_json(expected / "curve.json"), strict=True):
        assert {k: v for k, v in point.items() if k not in timed} == {k: v for k, v in other.items() if k not in timed}


def test_a_record_says_all_of_it(home):
    run = train(Recipe(**SMALL | {"iterations": 1}), home, home)
    record = record_run(run, home)
    assert record["iterations"] == 1 and record["identical"] == 100.0
    assert {"miou", "mascc_paper", "mascc_lps", "n", "commit", "device", "parameters"} <= set(record)
    model, recipe = trained(run)
    assert recipe.size == 32 and not model.training


def test_the_encoder_learns_at_a_share_of_the_rate(home, scenes):
    training = Training(Recipe(**SMALL), scenes, home)
    factors = {group["factor"]: sum(p.numel() for p in group["params"]) for group in training.optimizer.param_groups}
    encoder = sum(p.numel() for name, p in training.model.named_parameters() if name.startswith("encoder."))
    assert factors[0.1] == encoder and factors[1.0] > 0
    training.epoch(lambda *_: None)
    rates = {group["factor"]: group["lr"] for group in training.optimizer.param_groups}
    assert rates[0.1] == pytest.approx(0.1 * rates[1.0])


def test_the_poly_schedule_is_a_power_of_what_is_left():
    recipe = Recipe(schedule="poly", lr=0.01)
    assert [learning_rate(recipe, step, 100) for step in (0, 50, 100)] == pytest.approx([0.01, 0.01 * 0.5**0.9, 0.0])


def test_an_encoder_starts_from_published_weights(home):
    weights = torchvision.models.mobilenet_v2().state_dict()
    save_tensors(home / "published.pth", weights)
    for method in ("baseline-zero", "mass", "lpf3", "aps"):
        recipe = Recipe(**SMALL | {"method": method, "start": "published.pth"})
        model = METHODS[method].build(recipe.net, 0, weights)
        state = model.state_dict()
        assert torch.equal(state["encoder.features.0.0.weight"], weights["features.0.0.weight"])
        assert torch.equal(state["encoder.features.17.conv.0.0.weight"], weights["features.17.conv.0.0.weight"])
    assert recipe.name == "scenes/deeplabv3plus-scenes/aps/5-iterations-from-published/seed-0"


def test_the_recipe_of_table_5_is_the_papers():
    recipe = table_5_recipes(load_config(ROOT).of("08_segmentation", "paper"))[-1]
    assert (recipe.dataset, recipe.net, recipe.method) == ("voc2012", "deeplabv3plus-vainf-resnet18", "mass")
    assert (recipe.iterations, recipe.batch, recipe.size, recipe.schedule) == (30_000, 16, 512, "poly")
    assert (recipe.lr, recipe.encoder_lr, recipe.momentum, recipe.weight_decay) == (0.01, 0.1, 0.9, 1e-4)


@pytest.mark.slow
def test_two_processes_are_one_with_two_parts(home, monkeypatch):
    """As for classification: each half of a batch is normalised by its own statistics, gradients are averaged."""
    monkeypatch.undo()  # the other processes read the real scenes
    monkeypatch.chdir(home)
    for name, value in {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}.items():
        monkeypatch.setenv(name, value)
    recipe = Recipe(**SMALL | {"batch": 16, "iterations": 2, "method": "mass"})
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*launch, "companion.train", *to_arguments(recipe), f"--checkpoints={home / 'two'}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'mascc_paper'") == 1  # the record, from one of the two
    two = load_tensors(home / "two" / recipe.name / "weights.pt")
    one = load_tensors(train(Recipe(**asdict(recipe) | {"accumulate": 2}), home, home / "one") / "weights.pt")
    for name, parameter in METHODS["mass"].build(recipe.net, 0).named_parameters():
        assert torch.linalg.vector_norm(two[name] - one[name]) <= 1e-3 * torch.linalg.vector_norm(one[name]), name
        assert parameter.shape == two[name].shape


# Filters in torchvision's networks


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_a_filter_of_size_one_behind_an_activation_is_the_stride_itself(name):
    torch.manual_seed(0)
    plain, x = torchvision.models.get_model(name).double().eval(), torch.randn(1, 3, 64, 96, dtype=torch.float64)
    sampled = antialias(copy.deepcopy(plain), "lpf1")
    filters = [module for module in sampled.modules() if isinstance(module, type(FILTERS["lpf1"](1)))]
    assert len(filters) == {"resnet18": 7, "resnet50": 7, "mobilenet_v2": 4}[name]
    assert torch.allclose(sampled(x), plain(x))
    assert antialias(copy.deepcopy(plain), "lpf3")(x).shape == (1, 1000)


def test_deeplab_refuses_a_filter_where_it_has_none():
    with pytest.raises(Refusal, match="DeepLabV3\\+ has its filters behind the convolutions, not 'before' them"):
        METHODS["mass-lpf3-before"].build("deeplabv3plus-scenes", 0)


# PASCAL VOC


@pytest.fixture
def devkit(tmp_path) -> Path:
    """A development kit of two pictures."""
    folder = tmp_path / "data" / "voc2012" / "VOCdevkit" / "VOC2012"
    for piece in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (folder / piece).mkdir(parents=True)
    for name in ("2007_000001", "2007_000002"):
        Image.new("RGB", (50, 30), (200, 10, 10)).save(folder / "JPEGImages" / f"{name}.jpg")
        mask = Image.new("P", (50, 30), 15)
        mask.putpalette(bytes(range(256)) * 3)
        mask.putpixel((0, 0), IGNORED)
        mask.save(folder / "SegmentationClassAug" / f"{name}.png")
    for split in ("train_aug", "val"):
        (folder / "ImageSets/Segmentation" / f"{split}.txt").write_text("2007_000001\n2007_000002\n")
    return folder


def test_voc_is_read_in_its_own_layout(devkit):
    voc = Voc(devkit.parents[1], "train_aug")
    image, labels = voc[1]
    assert len(voc) == 2 and image.shape == (3, 30, 50) and image[0].float().mean() > 150
    assert labels.shape == (30, 50) and labels[0, 0] == IGNORED and labels[1, 1] == 15
    assert len(CLASSES) == 21 and CLASSES[15] == "person"


ARCHIVE = "VOCtrainval_11-May-2012.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
VAINF = "https://github.com/VainF/DeepLabV3Plus-Pytorch"


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("ImageSets/Segmentation/train_aug.txt", f"train_aug.txt is missing: it comes with .*{VAINF}"),
        ("SegmentationClassAug", f"VOC2012/SegmentationClassAug is missing: SegmentationClassAug.zip; .*{VAINF}"),
        ("JPEGImages", f"VOC2012/JPEGImages is missing: it is in {ARCHIVE}"),
        ("JPEGImages/2007_000002.jpg", f"data/voc2012/VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg is missing: .*{ARCHIVE}"),
        ("SegmentationClassAug/2007_000001.png", f"SegmentationClassAug/2007_000001.png is missing: .*{VAINF}"),
    ],
)  # fmt: skip
def test_a_missing_piece_says_which_and_where_to_get_it(devkit, missing, sentence):
    (devkit / missing).rename(devkit / "away")
    with pytest.raises(Refusal, match=sentence):
        Voc(devkit.parents[1], "train_aug")


def test_the_whole_of_voc_is_all_of_its_pictures(devkit, tmp_path):
    with pytest.raises(Refusal, match=r"train_aug.txt lists 2 images, not 10582\."):
        DATASETS["voc2012"](tmp_path)
    with pytest.raises(Refusal, match="data/voc-subset is not there: run `make fetch DATA=voc-subset` with MIRROR="):
        DATASETS["voc-subset"](tmp_path)


def test_the_palette_is_the_development_kits():
    colours = (palette() * 255).round().int().tolist()
    assert colours[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[15] == [192, 128, 128] and colours[255] == [224, 224, 192]


# Figures


def test_tables_and_figures_show_every_method(scenes):
    rows = [{"method": name, "n": 4, "iterations": 5, "seed": seed, "miou": 40.0 + seed, "mascc_paper": 99.0,
             "mascc_lps": 98.0, "identical": 0.0} for name in ("Baseline", "LPF-3", "MASS") for seed in (0, 1)]  # fmt: skip
    table = table_of_runs(rows)
    assert list(table.index) == ["Baseline", "LPF-3", "MASS"] and set(table["mASCC (eq. 5)"]) == {"99.0000 ± 0.0000"}
    assert "mIoU" not in table
    points = [
        {"method": row["method"], "seed": row["seed"], "epoch": 1, "loss": 1.0, "test_miou": row["miou"]}
        for row in rows
    ]
    assert (
        learning_curves(points).get_suptitle() == "After 1 epochs mIoU lies between 40.5 and 40.5% (means of 2 seeds)"
    )
    drawings: list[Callable] = [lambda: learning_curves(points)]
    for draw in drawings:
        texts = {text.get_text() for axes in draw().axes if axes.get_legend() for text in axes.get_legend().get_texts()}
        assert {"Baseline", "LPF-3", "MASS"} <= texts
    assert len(examples([scenes.framed(i, 64) for i in (0, 1)], scenes.classes).axes) == 4


def test_the_masks_title_says_whose_labels_a_shift_changes():
    still, moved = torch.zeros(8, 12, dtype=torch.int64), torch.ones(8, 12, dtype=torch.int64)
    same = {"labels": still, "moved": still[None], "differs": torch.zeros(8, 12, dtype=torch.float64)}
    other = {"labels": still, "moved": moved[None], "differs": torch.full((8, 12), 0.25, dtype=torch.float64)}
    fig = disagreements(torch.rand(3, 8, 12), {"plain": other, "MASS": same}, (1, 3))
    assert fig.get_suptitle() == "A shift changes the labels of 25.0% of the pixels; of none with MASS"
    assert (
        disagreements(torch.rand(3, 8, 12), {"MASS": same}, (1, 3)).get_suptitle()
        == "No shift that was tried changes a label"
    )
