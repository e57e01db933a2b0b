"""Evaluation at scale: each image counts once, whoever computes it and however often it was killed."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy
import pytest
import torch
from imagenet_row import OPTIONS, random_row
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import imagenet

import mass
from companion.core.errors import Refusal
from companion.data.published.imagenet import Listing, find_images
from companion.studies.imagenet import cluster
from companion.studies.imagenet.__main__ import arguments
from companion.studies.imagenet.asking import draws
from companion.studies.imagenet.canvases import CANVASES, on_canvas, shares
from companion.studies.imagenet.networks import ROWS, TABLE_3
from companion.studies.imagenet.running import finished
from companion.studies.imagenet.streaming import Pieces, evaluate, gathered
from companion.studies.imagenet.table_3 import Processes, keep, measure, rows_of

COUNT = 11


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven small images with labels, one of them truncated, one no image."""
    folder = tmp_path_factory.mktemp("images")
    generator = numpy.random.default_rng(0)
    for k in range(COUNT):
        side = (40, 60) if k % 2 else (60, 40)
        Image.fromarray(generator.integers(0, 256, (*side, 3), dtype=numpy.uint8)).save(folder / f"{k:02}.JPEG")
    (folder / "03.JPEG").write_bytes((folder / "03.JPEG").read_bytes()[:-900])
    (folder / "07.JPEG").write_text("no image")
    (folder / "dataset.txt").write_text("".join(f"elsewhere/{k:02}.JPEG, {k}\n" for k in range(COUNT)))
    return folder


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory):
    """By one process."""
    root = tmp_path_factory.mktemp("root")
    row = random_row(root)
    found = measure(row, ["plain"], find_images(images), OPTIONS, root, root / "one", 0, Processes())
    return root, row, found["plain"]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_files_that_cannot_be_read_are_named_and_counted(alone) -> None:
    _, row, found = alone
    assert found["answers"]["index"].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert [told.partition(":")[0] for told in found["unreadable"]] == ["03.JPEG", "07.JPEG"]
    assert "truncated" in found["unreadable"][0] and "not an image" in found["unreadable"][1]
    (record,) = rows_of(row, {"plain": found}, OPTIONS)
    assert (record["n"], record["unreadable"]) == (9, 2)
    assert record["moved"] == len(found["answers"]["consistency_zero"]) == 5  # the batches that begin below 6


@pytest.mark.parametrize("kill", [[], ["kill"]], ids=["two processes", "one killed"])
def test_two_processes_count_as_one_does(images: Path, alone, tmp_path: Path, kill: list[str]) -> None:
    root, row, expected = alone
    script = Path(__file__).with_name("imagenet_row.py")
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--max-restarts=1",
        "--master-port=0",
    ]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [*torchrun, "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", script, images, tmp_path, root, *kill],
        env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("exitcode: -9" in done.stderr) == bool(kill)
    pieces = Pieces(COUNT, OPTIONS.piece, OPTIONS.batch)
    folder = tmp_path / row.model / row.weights / "plain"
    made = torch.load(folder / "piece-00000.pt", weights_only=True)["made"]
    answers, unreadable, _ = gathered(pieces, folder, {k: v for k, v in made.items() if k not in ("count",)})
    assert same(answers, expected["answers"]) and unreadable == expected["unreadable"]


def test_it_goes_on_in_the_middle(images: Path, tmp_path: Path) -> None:
    """A run that is stopped in its second piece asks again about that piece alone."""
    listing, pieces, made = find_images(images), Pieces(COUNT, 4, 2), {"what": "indices"}
    asked: list[list[int]] = []

    def ask(x: torch.Tensor, labels: torch.Tensor, indices: list[int]) -> dict[str, torch.Tensor]:
        asked.append(indices)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return {"index": torch.tensor(indices), "label": labels}

    with pytest.raises(KeyboardInterrupt):
        evaluate(listing, pieces, ask, tmp_path, made, side=32, workers=0)
    with pytest.raises(Refusal, match="not whole: piece 2 of 3 is missing"):
        gathered(pieces, tmp_path, made)
    evaluate(listing, pieces, ask, tmp_path, made, side=32, workers=0)
    assert asked == [[0, 1], [2], [4, 5], [6], [4, 5], [6], [8, 9], [10]]
    answers, unreadable, _ = gathered(pieces, tmp_path, made)
    assert (
        answers["label"].tolist() == answers["index"].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10] and len(unreadable) == 2
    )
    with pytest.raises(Refusal, match="what 'indices', not 'labels'"):
        gathered(pieces, tmp_path, {"what": "labels"})


def test_every_image_is_of_one_process() -> None:
    for count, piece, batch, world in ((11, 4, 2, 2), (50_000, 1000, 100, 64), (7, 10, 3, 4), (10, 5, 5, 1)):
        pieces = Pieces(count, piece, batch)
        rows = [
            row for rank in range(world) for k in pieces.of(rank, world) for rows in pieces.batches(k) for row in rows
        ]
        assert sorted(rows) == list(range(count))


def test_draws_are_an_images_own() -> None:
    alone, together = draws("aps", [7], 0), draws("aps", [3, 7], 0)
    assert all(torch.equal(one[0], both[1]) for one, both in zip(alone, together, strict=True))
    many = torch.stack(draws("aps", list(range(500)), 0))
    assert (
        many.min() == -32 and many.max() == 31 and not torch.equal(many, torch.stack(draws("lps", list(range(500)), 0)))
    )


def test_table_3_has_every_generation_of_weights() -> None:
    by_model = {model: [row.weights for row in ROWS if row.model == model] for model in TABLE_3}
    assert by_model["resnet50"] == ["IMAGENET1K_V1", "IMAGENET1K_V2"] and by_model["resnet18"] == ["IMAGENET1K_V1"]
    assert all(by_model.values())
    assert {row.file for row in ROWS if row.model == "convnext_large"} == {"convnext_large-ea097f82.pth"}


@pytest.mark.parametrize("model", ["resnet18", "densenet121", "convnext_tiny"])
def test_rows_load_weights_of_their_own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Random weights of the same state_dict, in a file that is named after their hash."""
    import torchvision

    from companion.core.files import sha256
    from companion.studies.imagenet.networks import METHODS, Row

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "data" / model
    folder.mkdir(parents=True)
    network = torchvision.models.get_model(model)
    torch.save(network.state_dict(), folder / "new.pth")
    file = f"{model}-{sha256(folder / 'new.pth')[:8]}.pth"
    with pytest.raises(Refusal, match=f"{model} was not run: {file} is neither in"):
        Row(model, "random", file).load(tmp_path)
    (folder / "new.pth").rename(folder / file)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        loaded = Row(model, "random", file).load(tmp_path)
        assert torch.equal(loaded(x), network.eval()(x))
        converted = METHODS["MASS"](loaded, x)
        assert torch.equal(converted(x), converted(x.roll((5, 3), (2, 3))))
    with pytest.raises(
        Refusal, match=f"These are not the weights of {'densenet121' if model == 'resnet18' else 'resnet18'}"
    ):
        other = "densenet121" if model == "resnet18" else "resnet18"
        (tmp_path / "data" / other).mkdir()
        (folder / file).rename(tmp_path / "data" / other / file)
        Row(other, "random", file).load(tmp_path)
    (tmp_path / "data" / other / file).write_bytes(b"another file")
    with pytest.raises(Refusal, match="damaged or another file"):
        Row(other, "random", file).load(tmp_path)


def test_weights_of_ones_own(tmp_path: Path) -> None:
    from companion.studies.imagenet.__main__ import _wanted

    (row,) = _wanted(options("--models", "resnet18", "--weights", str(tmp_path / "tuned.pth")))
    assert (row.model, row.weights) == ("resnet18", "tuned") and row.place(tmp_path) is None
    with pytest.raises(Refusal, match="name it by --models, not 15 of them"):
        _wanted(options("--weights", "tuned.pth"))


def test_records_are_a_run(alone, tmp_path: Path) -> None:
    from companion.core.published import records_of

    _, row, found = alone
    flipped = {**found, "answers": found["answers"] | {"top1": ~found["answers"]["top1"]}}
    records = rows_of(row, {"plain": found, "MASS": flipped}, OPTIONS)
    keep(records, "reduced", tmp_path, tmp_path / "imagenet", 1.0)
    read = records_of(tmp_path / "imagenet")
    assert len(read) == len(records) == 4
    paired = next(r for r in read if r["stage"] == "top-1, paired")
    assert (paired["method"], paired["against"], paired["n"]) == ("MASS", "plain", 9)


def test_a_canvas_is_where_it_is_put() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    model = mass.convert(plain.eval(), torch.randn(1, 3, 32, 32))
    batches = [(torch.rand(3, 3, 224, 224), torch.zeros(3, dtype=torch.int64))] * 2
    for canvas in CANVASES[::3]:
        found = shares(on_canvas(model, canvas, batches, moved=3))
        assert (found["n"], found["moved"], found["agree_placed"], found["identical"]) == (6, 3, 100, 100)
    assert len({canvas.name for canvas in CANVASES}) == len(CANVASES)


def test_what_is_finished_is_not_computed_again(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, int]:
        calls.append(1)
        return {"answer": 3}

    assert [finished(tmp_path / "a.pt", {"n": 1}, compute) for _ in range(2)] == [{"answer": 3}] * 2 and len(calls) == 1
    with pytest.raises(Refusal, match="was made with n 1: move it away"):
        finished(tmp_path / "a.pt", {"n": 2}, compute)


def options(*words: str) -> argparse.Namespace:
    return arguments(["/data/imagenet", *words])


def test_the_batch_script_says_what_runs() -> None:
    pytest.importorskip("submitit")
    text = cluster.submit(
        options(
            "--models",
            "resnet50",
            "convnext_large",
            "--executor",
            "slurm",
            "--dry-run",
            "--nodes",
            "2",
            "--gpus",
            "8",
            "--partition",
            "long",
        )
    )
    assert (
        text.count("#!/bin/bash") == 2 and text.count("#SBATCH --nodes=2") == 2 and "#SBATCH --partition=long" in text
    )
    assert "--nnodes=2 --nproc-per-node=8 --max-restarts=3" in text and "--rdzv-endpoint=$(hostname):29500" in text
    assert (
        "-m companion.studies.imagenet /data/imagenet --models=convnext_large" in text and "'circular padding'" in text
    )


def test_a_job_s_command_says_all_options_again() -> None:
    given = options("--methods", "plain", "MASS", "--images", "40", "--precision", "bfloat16")
    words = cluster.command(given, "resnet18")
    again = arguments(words[3:])
    assert {**vars(again), "models": given.models} == vars(given) and again.models == ["resnet18"]


def test_no_cluster_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Refusal, match="There is no Slurm here"):
        cluster.submit(options("--executor", "slurm"))


def test_local_jobs_run_for_real(images: Path, tmp_path: Path) -> None:
    """A row without weights: the job runs, says so and ends."""
    pytest.importorskip("submitit")
    given = options("--models", "resnet18", "--executor", "local", "--jobs", str(tmp_path))
    given.folder = images
    assert "not run: resnet18-f37072fd.pth is not at hand" in cluster.submit(given)
    given.methods = ["plain", "no method"]
    assert "invalid choice: 'no method'" in cluster.submit(given)  # a job that stops is told


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "nowhere", "There is no folder"),
        (lambda folder: folder, "is not laid out as ImageNet's validation set: expected .* found nothing"),
        (lambda folder: (folder / "n00000001").mkdir() or folder, "has 1 folders named as n01440764, expected one for each of 1,000"),
        (lambda folder: (folder / "ILSVRC2012_val_00000001.JPEG").touch() or folder, "holds images without labels: expected ILSVRC2012_devkit"),
        (lambda folder: (folder / "dataset.txt").write_text("a.JPEG, 1\nb.JPEG\n") and folder, "Line 2 of .* is 'b.JPEG'"),
        (lambda folder: (folder / "dataset.txt").touch() or folder, "'listed' and holds no images"),
        (lambda folder: (folder / "dogs").mkdir() or folder, "found dogs"),
    ],
)  # fmt: skip
def test_wrong_layouts(tmp_path: Path, make, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        find_images(make(tmp_path))


def test_layouts(tmp_path: Path) -> None:
    """Folders of classes, here or in val/; flat images with the devkit's ground truth, whose numbers are its own."""
    folders = tmp_path / "folders" / "val"
    for k in range(1000):
        (folders / f"n{k:08}").mkdir(parents=True)
    for name in ("n00000002/b.JPEG", "n00000999/a.JPEG"):
        (folders / name).touch()
    expected = Listing("folders", (folders / "n00000999/a.JPEG", folders / "n00000002/b.JPEG"), (999, 2))
    assert find_images(folders.parent) == find_images(folders) == expected
    flat = tmp_path / "flat"
    (flat / "ILSVRC2012_devkit_t12" / "data").mkdir(parents=True)
    (flat / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n")
    for number in (1, 2):
        (flat / f"ILSVRC2012_val_{number:08}.JPEG").touch()
    with pytest.raises(Refusal, match="has no meta.mat"):
        find_images(flat)
    kinds = [("ILSVRC2012_ID", int), ("WNID", object), ("num_children", int)]
    synsets = numpy.array([(1, "n00000005", 0), (2, "n00000001", 0), (3, "n00000003", 0), (4, "n00000000", 3)], kinds)
    savemat(flat / "ILSVRC2012_devkit_t12/data/meta.mat", {"synsets": synsets})
    found = find_images(flat)
    assert (found.layout, found.labels) == ("flat", (1, 2))
    (flat / "ILSVRC2012_val_00000003.JPEG").touch()
    with pytest.raises(Refusal, match="holds image 3, and its ground truth only 2 labels"):
        find_images(flat)


def test_the_published_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As published but small: torchvision checks and unpacks them; what was cut short is not taken for the whole."""
    devkit, images = tmp_path / "made" / "ILSVRC2012_devkit_t12", tmp_path / "made" / "images"
    (devkit / "data").mkdir(parents=True)
    images.mkdir()
    kinds = [("ILSVRC2012_ID", int), ("WNID", object), ("words", object), ("gloss", object), ("num_children", int)]
    classes = [(1, "n00000005", "a, b", "", 0), (2, "n00000001", "c", "", 0), (3, "n00000000", "d", "", 2)]
    savemat(devkit / "data" / "meta.mat", {"synsets": numpy.array(classes, kinds)})
    (devkit / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n2\n")
    for number in (1, 2, 3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(images / f"ILSVRC2012_val_{number:08}.JPEG")
    folder = tmp_path / "imagenet"
    folder.mkdir()
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        archive.add(devkit, "ILSVRC2012_devkit_t12")
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for path in sorted(images.iterdir()):
            archive.add(path, path.name)
    with pytest.raises(Refusal, match="The archives in .* are not as published"):
        find_images(folder)
    monkeypatch.setattr("companion.data.published.imagenet.IMAGES", 3)
    monkeypatch.setattr("companion.data.published.imagenet.CLASSES", 2)
    for part in ("devkit", "val"):
        name = imagenet.ARCHIVE_META[part][0]
        monkeypatch.setitem(imagenet.ARCHIVE_META, part, (name, hashlib.md5((folder / name).read_bytes()).hexdigest()))
    first, again = find_images(folder), find_images(folder)
    assert first.layout == "archives" and first.labels == again.labels == (0, 1, 0) and first.files == again.files
    first.files[1].unlink()
    with pytest.raises(Refusal, match="holds 2 images, and the archive beside it 3: unpacking was cut short"):
        find_images(folder)
