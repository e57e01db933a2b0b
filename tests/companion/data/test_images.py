"""Pictures: sets that stay in a mirror folder, and the two that come with scikit-learn."""

import hashlib
import json

import pytest
import torch
from PIL import Image

from companion.core.errors import Refusal
from companion.data import images as data
from companion.fetching.catalogue import ImageSet, Mirrored
from companion.fetching.manifest import _entries, link_images, read_manifest


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror" / "few"
    folder.mkdir(parents=True)
    for index in range(3):
        Image.new("RGB", (227, 227), (80 * index, 0, 0)).save(folder / f"{index}.png")
    (folder / "labels.txt").write_text("".join(f"./elsewhere/{index}.png, {index + 7}\n" for index in range(3)))
    return folder.parent


def images(mirror, sha256=None) -> ImageSet:
    few = ImageSet("few", Mirrored("few"), "labels.txt", 3, sha256 or "", "none", "")
    if sha256 is None:
        text = json.dumps(_entries(few, mirror / "few"), indent=0) + "\n"
        return images(mirror, hashlib.sha256(text.encode()).hexdigest())
    return few


def test_pictures_are_linked_and_never_copied(mirror, tmp_path):
    few = images(mirror)
    assert link_images(few, tmp_path, mirror)
    assert (tmp_path / "data/few/images").resolve() == (mirror / "few").resolve()
    assert [entry["label"] for entry in read_manifest(tmp_path, "few")] == [7, 8, 9]
    assert str(tmp_path) not in (tmp_path / "data/few/manifest.json").read_text()
    first = (tmp_path / "data/few/manifest.json").read_bytes()
    assert link_images(few, tmp_path, mirror) and (tmp_path / "data/few/manifest.json").read_bytes() == first


def test_a_mirror_without_the_set_is_no_error(mirror, tmp_path):
    assert not link_images(images(mirror), tmp_path, tmp_path)
    assert read_manifest(tmp_path, "few") is None


def test_other_pictures_and_other_layouts_are_refused(mirror, tmp_path):
    few = images(mirror)
    (mirror / "few" / "1.png").write_bytes(b"broken")
    with pytest.raises(Refusal, match="does not hold the 3 images of few"):
        link_images(few, tmp_path, mirror)
    (mirror / "few" / "1.png").unlink()
    with pytest.raises(Refusal, match="is not laid out as few: it lacks 1.png"):
        link_images(few, tmp_path, mirror)
    (mirror / "few" / "labels.txt").unlink()
    with pytest.raises(Refusal, match="it lacks labels.txt"):
        link_images(few, tmp_path, mirror)
    assert not (tmp_path / "data").exists()


def test_a_subset_yields_cropped_tensors_with_labels(mirror, tmp_path, monkeypatch):
    link_images(images(mirror), tmp_path, mirror)
    monkeypatch.setattr(data, "SUBSET", "few")
    monkeypatch.setattr(data, "find_root", lambda: tmp_path)
    subset = data.imagenet_subset(limit=2)
    assert len(subset) == 2
    picture, label = subset[1]
    assert picture.shape == (3, 224, 224) and picture.dtype == torch.float32 and label == 8
    assert picture[0].eq(torch.tensor(80 / 255)).all()
    (mirror / "few" / "1.png").unlink()
    with pytest.raises(Refusal, match="1.png is gone"):
        subset[1]


def test_without_a_fetch_there_is_no_subset(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "find_root", lambda: tmp_path)
    assert data.imagenet_subset() is None


@pytest.mark.parametrize(("size", "shape"), [(224, (224, 224)), ((64, 96), (64, 96)), ((640, 480), (640, 480))])
def test_photographs_cover_any_size(size, shape):
    photos = data.photographs(size)
    assert photos.shape == (2, 3, *shape) and photos.dtype == torch.float32
    assert photos.min() >= 0 and photos.max() <= 1 and photos.std() > 0.1


def test_a_profile_that_needs_its_images_refuses_photographs(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "find_root", lambda: tmp_path)
    few, name = data.labelled_images(80, 64)
    assert name == "photographs" and len(few) == 2
    with pytest.raises(Refusal, match=r"reads 1,300 images, and imagenet-val-1300 \(1,300\) has not been fetched"):
        data.labelled_images(1300)
    with pytest.raises(Refusal, match=r"reads 50,000 images, and imagenet-val \(50,000\) has not been fetched"):
        data.labelled_images(50_000)


def test_a_folder_per_class(tmp_path, monkeypatch):
    mirror = tmp_path / "mirror/full"
    full = ImageSet("full", Mirrored("full"), None, 1001, None, "none", "")
    for label in range(1000):
        (mirror / f"n{label:08d}").mkdir(parents=True)
        (mirror / f"n{label:08d}" / f"ILSVRC2012_val_{1001 - label:08d}.JPEG").touch()
    with pytest.raises(Refusal, match="holds 1,000 images, but full has 1,001"):
        link_images(full, tmp_path, mirror.parent)
    Image.new("RGB", (500, 300), (80, 0, 0)).save(mirror / "n00000999/ILSVRC2012_val_00009999.JPEG")
    assert link_images(full, tmp_path, mirror.parent)
    entries = read_manifest(tmp_path, "full")
    assert [entry["label"] for entry in entries] == [*range(1000), 999]
    assert entries[-1]["file"] == "n00000999/ILSVRC2012_val_00009999.JPEG"
    monkeypatch.setattr(data, "find_root", lambda: tmp_path)
    monkeypatch.setattr(data, "IMAGENET", "full")
    assert data._images("full", None, 224)[1000][0].shape == (3, 224, 224)
    (mirror / "n00000000" / "ILSVRC2012_val_00001001.JPEG").unlink()
    (mirror / "n00000000").rmdir()
    with pytest.raises(Refusal, match="it has 999 folders named as n01440764"):
        link_images(full, tmp_path, mirror.parent)
