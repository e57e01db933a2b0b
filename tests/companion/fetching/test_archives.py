"""Data sets that are folders: whole and right, or a sentence and nothing left behind."""

import errno
import hashlib
import io
import lzma
import struct
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
from PIL import Image
from ruamel.yaml import YAML

from companion.core.errors import Refusal
from companion.fetching import archives as trees
from companion.fetching import cifar10_mosaics as cifar10
from companion.fetching import fetch
from companion.fetching.catalogue import TREES, Mirrored, Source, Tree, Web

ROOT = Path(__file__).parents[3]
FILES = {"a/one.txt": b"one", "a/b/two.txt": b"two" * 1000}


@pytest.fixture(autouse=True)
def server(monkeypatch):
    """Web places are folders of this machine."""

    def copy(place, part, size):
        part.write_bytes(Path(place.url).read_bytes())

    monkeypatch.setattr(fetch, "from_web", copy)


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    for name, content in FILES.items():
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "set" / name).write_bytes(content)
    return folder


def write_tar(path: Path, members: dict[str, bytes], **changes) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in changes.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(content))
    return path


def tree(archive: Path | None = None, mirrored: bool = True) -> Tree:
    lines = "".join(f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}\n" for name in sorted(FILES))
    source = None
    if archive is not None:
        content = archive.read_bytes()
        web = (Web(str(archive)), Mirrored(archive.name))
        source = Source("set", "set.tgz", len(content), hashlib.sha256(content).hexdigest(), "MIT", web, False)
    whole = hashlib.sha256(lines.encode()).hexdigest()
    return Tree("set", 3003, whole, "MIT", source, ("readme",), Mirrored("set") if mirrored else None, "copy", None)


def left(root: Path) -> list[str]:
    return [path.name for path in (root / "data").rglob("*") if path.is_file()]


def test_from_the_mirror_and_then_nothing(mirror, tmp_path):
    assert fetch.fetch_tree(tree(), tmp_path, mirror) == "from set in the mirror folder"
    assert {name: (tmp_path / "data/set" / name).read_bytes() for name in FILES} == FILES
    assert fetch.fetch_tree(tree(), tmp_path, mirror) == "already there"


def test_from_the_official_archive(tmp_path):
    archive = write_tar(tmp_path / "set.tgz", FILES | {"readme": b"left out"})
    assert fetch.fetch_tree(tree(archive), tmp_path) == f"from {archive}"
    assert sorted(left(tmp_path)) == ["one.txt", "two.txt"]


def test_from_the_official_archive_in_the_mirror(tmp_path):
    whole = tree(write_tar(tmp_path / "set.tgz", FILES), mirrored=False)
    assert fetch.fetch_tree(whole, tmp_path, tmp_path) == "from set.tgz in the mirror folder"


def test_a_mirror_that_is_wrong_gives_way_to_the_archive(mirror, tmp_path):
    (mirror / "set/a/one.txt").write_bytes(b"other")
    with pytest.raises(Refusal, match="set in the mirror folder does not hold the files of the data set"):
        fetch.fetch_tree(tree(), tmp_path, mirror)
    assert left(tmp_path) == [] and not (tmp_path / "data/set").exists()
    gone = tree(write_tar(tmp_path / "set.tgz", FILES))
    (tmp_path / "set.tgz").write_bytes(b"other")
    with pytest.raises(Refusal, match="set in the mirror folder does not hold .*; set.tgz could not be fetched"):
        fetch.fetch_tree(gone, tmp_path, mirror)
    fetch.fetch_tree(tree(write_tar(tmp_path / "set.tgz", FILES)), tmp_path, mirror)
    assert len(left(tmp_path)) == 2


@pytest.mark.parametrize(
    ("members", "changes", "sentence"),
    [
        ({"../escaped.txt": b"x"}, {}, r"set.tgz is no archive to trust \(../escaped.txt would leave its folder\)"),
        ({"a/x": b""}, {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "no archive to trust"),
        ({"a/x": b""}, {"type": tarfile.CHRTYPE}, "no archive to trust"),
        ({"a/one.txt": b"one"}, {}, "set.tgz does not hold the files of the data set"),
    ],
)
def test_archives_that_would_escape_or_are_wrong(tmp_path, members, changes, sentence):
    with pytest.raises(Refusal, match=sentence):
        fetch.fetch_tree(tree(write_tar(tmp_path / "set.tgz", members, **changes)), tmp_path)
    assert left(tmp_path) == [] and not (tmp_path / "escaped.txt").exists()


def test_half_an_archive(tmp_path):
    whole = write_tar(tmp_path / "set.tgz", {**FILES, "c": numpy.random.default_rng(0).bytes(50_000)}).read_bytes()
    (tmp_path / "half.tgz").write_bytes(whole[:30_000])
    with pytest.raises(Refusal, match="set.tgz is not a whole archive"):
        fetch.fetch_tree(tree(tmp_path / "half.tgz"), tmp_path)
    assert left(tmp_path) == []


def test_what_is_there_is_never_overwritten(mirror, tmp_path):
    (tmp_path / "data/set").mkdir(parents=True)
    (tmp_path / "data/set/mine.txt").write_text("mine")
    with pytest.raises(Refusal, match="data/set is there, but is not set: move it away, then fetch again"):
        fetch.fetch_tree(tree(), tmp_path, mirror)
    assert left(tmp_path) == ["mine.txt"]


def test_a_folder_whose_hash_is_not_known_is_known_by_what_it_must_hold(tmp_path):
    (voc,) = (tree for tree in TREES if tree.sha256 is None)
    target = tmp_path / "data" / voc.name
    (target / "VOCdevkit/VOC2012/SegmentationClassAug").mkdir(parents=True)  # which its reader adds
    with pytest.raises(Refusal, match="data/voc2012 is there, but is not voc2012: move it away, then fetch again"):
        fetch.fetch_tree(voc, tmp_path)
    for piece in voc.holds:
        assert not trees.is_tree(target, voc)
        file = target / piece if piece.endswith(".txt") else target / piece / "one"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("one")
    assert fetch.fetch_tree(voc, tmp_path) == "already there"


def test_a_full_disk_before_and_during(mirror, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(trees.shutil, "disk_usage", lambda path: SimpleNamespace(free=9))
        with pytest.raises(Refusal, match="The disk is full: data/set needs 0 MB"):
            fetch.fetch_tree(tree(), tmp_path, mirror)

    def full(origin, folder):
        (folder / "half").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(trees._FILL, "copy", full)
    with pytest.raises(Refusal, match="The disk is full"):
        fetch.fetch_tree(tree(), tmp_path, mirror)
    assert left(tmp_path) == []


def test_without_mirror_or_archive(tmp_path):
    with pytest.raises(Refusal, match="comes from a mirror folder alone: name one with MIRROR="):
        fetch.fetch_tree(tree(), tmp_path)
    with pytest.raises(Refusal, match="no data set or file named 'cifar'; known: .*cifar10"):
        fetch.fetch_inputs(tmp_path, None, ["cifar"])


def write_mosaics(folder: Path) -> dict[str, bytes]:
    """A set as the mirror's, of one picture's colours per tile; returns the batches to be had from it."""
    folder.mkdir(parents=True)
    colours = {}
    for split, tiles in (("train", 5), ("test", 1)):
        for label, name in enumerate(cifar10._CLASSES):
            for tile in range(tiles):
                colour = (label * 20, tile * 40, 7 if split == "test" else 9)
                colours[split, label * 5000 + tile * 1000] = colour
                Image.new("RGB", (320, 3200), colour).save(folder / f"{split}-{name}-{tile}.webp", lossless=True)
    batches, parts = {}, []
    for name, split, order in (("data_batch_1", "train", [11000, 3]), ("test_batch", "test", [5000])):
        pixels = b"".join(bytes(c for c in colours[split, i // 1000 * 1000] for _ in range(1024)) for i in order)
        batches[name] = b"head" + pixels + b"tail"
        parts += [name.encode(), b"head", b"tail", numpy.array(order, numpy.uint16).tobytes()]
    with lzma.open(folder / "official-order.xz", "w") as index:
        index.write(b"".join(struct.pack("<I", len(part)) + part for part in parts))
    (folder / "batches.meta").write_bytes(b"meta")
    return batches | {"batches.meta": b"meta"}


def test_batches_are_rebuilt_from_mosaics(tmp_path):
    expected = write_mosaics(tmp_path / "mosaics")
    cifar10.rebuild(tmp_path / "mosaics", tmp_path / "batches")
    assert {path.name: path.read_bytes() for path in (tmp_path / "batches").iterdir()} == expected


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "train-cat-2.webp").unlink(), "lacks train-cat-2.webp"),
        (lambda folder: (folder / "train-cat-2.webp").write_bytes(b"no picture"), "is corrupted"),
        (lambda folder: (folder / "official-order.xz").write_bytes(b"no archive"), "is corrupted"),
    ],
)
def test_damaged_mosaics(tmp_path, damage, sentence):
    write_mosaics(tmp_path / "mirror/cifar10")
    damage(tmp_path / "mirror/cifar10")
    (tree,) = (tree for tree in TREES if tree.name == "cifar10")
    tree = Tree(**{**vars(tree), "archive": None})
    with pytest.raises(Refusal, match=f"cifar10 in the mirror folder {sentence}"):
        fetch.fetch_tree(tree, tmp_path, tmp_path / "mirror")
    assert left(tmp_path) == []


@pytest.mark.parametrize("tree", [tree for tree in TREES if tree.dvc], ids=lambda tree: tree.name)
def test_dvc_versions_what_the_table_names(tree):
    (out,) = YAML(typ="safe", pure=True).load(ROOT / tree.dvc)["outs"]
    assert out["path"] == f"data/{tree.name}" and out["size"] == tree.size
