"""What a recipe says is read by the training, or refused in a sentence; and a network fits its data, or is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.data.boxed import Boxed, BoxedSet
from companion.data.datasets import DATASETS
from companion.data.instances import Instances, InstanceSet
from companion.data.labelled import Labelled, Split
from companion.data.segmented import Segmented
from companion.data.transformed import Transformed
from companion.models.methods import METHODS
from companion.pipeline.settings import load_config
from companion.studies.antialiasing import recipes as antialiasing
from companion.studies.cifar10 import recipes as cifar10
from companion.studies.detection import recipes as detection
from companion.studies.gpu import queue
from companion.studies.implicit_equivariance import arms
from companion.studies.periodic import recipes as periodic
from companion.studies.segmentation.recipes import table_5_recipes
from companion.studies.stability.benchmarks.segmentation import recipe as segmenter_under_noise
from companion.training.captured import Program
from companion.training.recipe import Recipe
from companion.training.tasks import TASKS, require_fit, task_of
from companion.training.train import train

DIGITS = {"net": "digits", "dataset": "digits", "epochs": 1, "batch": 64}


def data_like(name: str) -> object:
    """Nearly no images, in a data set of the kind that this one is."""
    images = torch.zeros(2, 1, 640, 640, dtype=torch.uint8)
    split, about = Split(images, torch.arange(2)), ((0.5,), (0.5,))
    if name in ("voc2012", "voc-subset", "scenes"):
        return Segmented([], [], ("none", "one"))  # type: ignore[arg-type]
    if name in ("periodic-boxes", "deeppcb-boards", "deeppcb-boards-640"):
        boxed = Boxed(images, torch.zeros(2, 1, 5))
        return BoxedSet(boxed, boxed, *about, ("one",))
    if name == "periodic-instances":
        instances = Instances(images, torch.zeros(2, 2, 640, 640, dtype=torch.uint8))
        return InstanceSet(instances, instances, *about, ("one",))
    if name.startswith(("rotated", "reflected", "scaled")):
        return Transformed(split, split, *about, split, "rotations", False)
    return Labelled(split, split, *about)


def of_studies(profile: str) -> Iterator[Recipe]:
    """All that notebooks train in a profile, and the benchmarks."""
    config = load_config(find_root())
    table_2, boards, structures = (config.of(n, profile) for n in ("05_cifar10", "14_detection", "11_periodic"))
    yield from cifar10.table_2_recipes(table_2)
    yield from cifar10.fine_tuned(table_2, ("mass",))
    yield from table_5_recipes(config.of("08_segmentation", profile))
    yield from antialiasing.recipes(config.of("09_antialiasing", profile))
    yield from arms.in_order(arms.recipes(config.of("10_implicit_equivariance", profile)))
    yield from periodic.recipes(structures, structures.methods)
    yield from periodic.fine_tuned(structures, epochs=1, methods=("mass",), seeds=1)
    yield from detection.recipes(boards)
    yield from detection.mask_recipes(boards)
    yield from queue.recipes(queue.FULL, tuple(METHODS), (0,))
    yield segmenter_under_noise(200)


@pytest.mark.parametrize("profile", ["quick", "reduced", "paper"])
def test_every_recipe_of_the_studies_is_read_whole(profile):
    for recipe in of_studies(profile):
        assert task_of(data_like(recipe.dataset), recipe).recipe == recipe


@pytest.mark.parametrize(
    ("recipe", "unread"),
    [
        (DIGITS | {"transforms": "r4", "beta": 5.0}, "digits does not read beta 5.0, transforms 'r4'"),
        (DIGITS | {"size": 32}, "digits does not read size 32"),
        (DIGITS | {"encoder_lr": 0.1}, "digits does not read encoder_lr 0.1"),
        ({"dataset": "scenes", "size": 32, "beta": 1.0}, "scenes does not read beta 1.0"),
        ({"dataset": "periodic-boxes", "transforms": "r4"}, "periodic-boxes does not read transforms 'r4'"),
        ({"dataset": "periodic-instances", "size": 64}, "periodic-instances does not read size 64"),
        ({"dataset": "rotated-digits", "transforms": "r4", "size": 8}, "rotated-digits does not read size 8"),
    ],
)
def test_what_a_task_does_not_read_is_refused(recipe, unread):
    with pytest.raises(Refusal, match=f"Training on {unread}: leave that out"):
        task_of(data_like(recipe["dataset"]), Recipe(**recipe))


def test_adam_is_given_no_momentum():
    with pytest.raises(Refusal, match="Adam does not read the recipe's momentum, 0.5"):
        Recipe(optimizer="adam", momentum=0.5)


@pytest.mark.parametrize("size", [0, 40])
def test_crops_of_segmented_images_have_a_side(size):
    with pytest.raises(Refusal, match=rf"\(--size\), a multiple of 16 pixels, not {size}"):
        task_of(data_like("scenes"), Recipe(dataset="scenes", size=size))


def test_crops_are_no_larger_than_images():
    with pytest.raises(Refusal, match=r"Crops of 656 pixels \(--size\) are larger than the images .*: 640"):
        task_of(data_like("periodic-boxes"), Recipe(dataset="periodic-boxes", size=656))


@pytest.mark.parametrize(
    ("net", "dataset", "more", "sentence"),
    [
        ("periodic", "digits", {}, r"asks for 10 logits an image, or more, and it gives \(1, 2\)"),
        ("detector-vias", "digits", {}, r"it gives \(1, 9, 8, 8\)"),
        ("mask-rcnn-vias", "digits", {}, "it gives no tensor"),
        ("digits", "rotated-digits", {"transforms": "r4"}, "of groups of channels"),
        ("deeplabv3plus-resnet18", "scenes", {"size": 32}, r"asks for 11 maps .* gives \(1, 21, 64, 64\)"),
        ("digits", "periodic-boxes", {}, r"asks for a map of 5 \+ 4 channels at stride 8"),
        ("digits", "periodic-instances", {}, "asks for a detector's boxes and masks"),
    ],
)
def test_a_network_of_another_kind_is_refused_ahead_of_training(net, dataset, more, sentence, tmp_path):
    recipe = Recipe(net=net, method="baseline-zero", dataset=dataset, batch=4, epochs=1, **more)
    with pytest.raises(Refusal, match=f"{net} is no network for {dataset}.*{sentence}"):
        train(recipe, tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["digits", "rotated-digits", "scenes", "periodic-boxes", "periodic-instances"])
def test_networks_that_fit_are_left_as_they_were(name):
    nets = {"digits": "digits", "rotated-digits": "ien-tiny8-r4", "scenes": "deeplabv3plus-scenes",
            "periodic-boxes": "detector-vias", "periodic-instances": "mask-rcnn-vias"}  # fmt: skip
    reads = {"size": 32} if name == "scenes" else {"transforms": "r4"} if name == "rotated-digits" else {}
    model = METHODS["mass"].build(nets[name], 0).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    require_fit(model, task_of(DATASETS[name](Path()), Recipe(net=nets[name], dataset=name, **reads)))
    assert model.training and all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_captured_step_is_sgds_of_plain_labels():
    for dataset, more in (("digits", {"optimizer": "adam"}), ("rotated-digits", {"transforms": "r4"})):
        with pytest.raises(Refusal, match="Captured training is for labelled images, SGD"):
            Program(Recipe(net="digits", dataset=dataset, **more), data_like(dataset), torch.device("cpu"))  # type: ignore[arg-type]


def test_each_kind_of_task_says_what_it_reads():
    fields = set(Recipe.__dataclass_fields__)
    assert all(kind.reads <= fields for kind in TASKS.values())
