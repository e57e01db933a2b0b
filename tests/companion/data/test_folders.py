"""STL-10, TinyImageNet and OTB where their files lie: read from generated trees in their layouts, or refused."""

import re
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from companion.core.errors import Refusal
from companion.data.datasets import DATASETS
from companion.data.generated.sequences import generated, otb
from companion.data.published.folders import stl10, tiny_imagenet


def stl(root: Path) -> numpy.ndarray:
    folder = root / "data/stl10/stl10_binary"
    folder.mkdir(parents=True)
    images = numpy.random.default_rng(0).integers(0, 256, (2, 3, 96, 96), dtype=numpy.uint8)
    for name in ("train", "test"):
        images.transpose(0, 1, 3, 2).tofile(folder / f"{name}_X.bin")  # columns first
        numpy.array([1, 10], dtype=numpy.uint8).tofile(folder / f"{name}_y.bin")
    return images


def tiny(root: Path) -> None:
    folder = root / "data/tiny-imagenet/tiny-imagenet-200"
    (folder / "val/images").mkdir(parents=True)
    names = [f"n{number:08}" for number in range(120)]
    (folder / "wnids.txt").write_text("\n".join(reversed(names)))
    for number, name in enumerate(names):
        (folder / "train" / name / "images").mkdir(parents=True)
        Image.new("RGB", (64, 64), (number, 0, 0)).save(
            folder / "train" / name / "images" / f"{name}_0.JPEG", quality=100
        )
    Image.new("RGB", (64, 64), (0, 9, 0)).save(folder / "val/images/val_0.JPEG")
    Image.new("L", (64, 64), 9).save(folder / "val/images/val_1.JPEG")
    listed = [f"val_0.JPEG\t{names[7]}\t0\t0\t9\t9", f"val_1.JPEG\t{names[110]}\t0\t0\t9\t9"]
    (folder / "val/val_annotations.txt").write_text("\n".join(listed) + "\n")


def test_stl10(tmp_path):
    images = stl(tmp_path)
    data = stl10(tmp_path)
    assert torch.equal(data.train.images, torch.from_numpy(images)) and data.test.labels.tolist() == [0, 9]
    assert len(data.mean) == 3 and data.normalize(data.train.images).std().sub(1).abs() < 1e-3


def test_tiny_imagenet(tmp_path):
    tiny(tmp_path)
    train, test = tiny_imagenet(tmp_path)
    assert train.images.shape == (120, 3, 64, 64) and train.labels.tolist() == list(range(120))
    assert test.labels.tolist() == [7, 110] and test.images.shape == (2, 3, 64, 64)


@pytest.mark.parametrize(("name", "side"), [("rotated-tiny-imagenet", 64), ("rotated-tiny-imagenet-65", 65)])
def test_rotated_tiny_imagenet_has_100_classes_in_discs(tmp_path, name, side):
    tiny(tmp_path)
    data = DATASETS[name](tmp_path)
    assert data.train.images.shape == (100, 3, side, side) and data.test.labels.tolist() == [7]
    assert data.train.images[..., 0, 0].max() == 0 and data.train.images[50:, 0, side // 2, side // 2].min() > 40


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(Refusal, match=re.escape("stl10_binary/train_X.bin is missing: unpack http")):
        stl10(tmp_path)
    with pytest.raises(Refusal, match=re.escape("tiny-imagenet-200/wnids.txt is missing")):
        tiny_imagenet(tmp_path)
    stl(tmp_path)
    (tmp_path / "data/stl10/stl10_binary/test_y.bin").write_bytes(b"\1")
    with pytest.raises(Refusal, match=re.escape("test_X.bin holds 2 images, and test_y.bin 1 labels")):
        stl10(tmp_path)
    tiny(tmp_path)
    (tmp_path / "data/tiny-imagenet/tiny-imagenet-200/val/images/val_0.JPEG").unlink()
    with pytest.raises(Refusal, match=re.escape("val_0.JPEG is listed and is not there")):
        tiny_imagenet(tmp_path)


def laid_out(folder: Path, separator: str):
    """A generated sequence as OTB has them."""
    sequence = generated(1, 3, 0, test=True)[0]
    (folder / "img").mkdir(parents=True)
    lines = []
    for number, (frame, (row, column, height, width)) in enumerate(
        zip(sequence.frames, sequence.boxes.tolist(), strict=True), start=1
    ):
        Image.fromarray((frame[0] * 255).byte().numpy()).save(folder / f"img/{number:04}.jpg", quality=100)
        left, top = column - (width - 1) / 2 + 1, row - (height - 1) / 2 + 1
        lines.append(separator.join(f"{value:.3f}" for value in (left, top, width, height)))
    (folder / "groundtruth_rect.txt").write_text("\n".join(lines) + "\n")
    return sequence


@pytest.mark.parametrize("separator", [",", "\t", " "])
def test_otb(tmp_path, separator):
    sequence = laid_out(tmp_path / "Digit", separator)
    read = otb(tmp_path / "Digit")
    assert read.name == "Digit" and torch.allclose(read.boxes, sequence.boxes, atol=2e-3)
    assert (read.frames - sequence.frames).abs().mean() < 0.02


def test_other_layouts_than_otbs_are_refused(tmp_path):
    with pytest.raises(Refusal, match="lacks groundtruth_rect.txt"):
        otb(tmp_path)
    laid_out(tmp_path / "Digit", ",")
    (tmp_path / "Digit/img/0003.jpg").unlink()
    with pytest.raises(Refusal, match="has 2 images and 3 boxes"):
        otb(tmp_path / "Digit")
    (tmp_path / "Digit/groundtruth_rect.txt").write_text("1,2,3\n")
    with pytest.raises(Refusal, match="four numbers a line"):
        otb(tmp_path / "Digit")


def test_sequences_follow_from_their_seed():
    one, again, other = (generated(1, 4, seed, test=False)[0] for seed in (0, 0, 1))
    assert torch.equal(one.frames, again.frames) and not torch.equal(one.frames, other.frames)
    row, column = (round(float(v)) for v in one.boxes[0, :2])
    around = one.frames[0, 0, row - 12 : row + 12, column - 12 : column + 12]
    assert around.max() > 0.9 and one.frames.shape == (4, 1, 128, 128) and one.frames.min() >= 0
