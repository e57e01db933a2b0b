"""Solar cells: read out of a wheel; what was not fetched, or is another file, is refused."""

import io
import pickle
import zipfile

import pytest
import torch
from PIL import Image

from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.data.datasets import DATASETS
from companion.data.published.solar_cells import SIDE, SolarCells


def wheel(root, labels="images/cell0001.png  1.0  mono\nimages/cell0002.png  0.3333333333333333  poly\n"):
    path = root / "data/elpv/elpv_dataset-1.0.0.post1-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("elpv_dataset/data/labels.csv", labels)
        for number, grey in ((1, 40), (2, 200)):
            file = io.BytesIO()
            Image.new("L", (SIDE, SIDE), grey).save(file, "PNG")
            archive.writestr(f"elpv_dataset/data/images/cell000{number}.png", file.getvalue())
    return path


def test_images_and_labels_come_in_their_order(tmp_path):
    wheel(tmp_path)
    cells = SolarCells(tmp_path)
    assert SolarCells.are_there(tmp_path) and len(cells) == 2
    image, probability = cells[1]
    assert image.shape == (1, SIDE, SIDE) and image.dtype == torch.uint8 and image.eq(200).all()
    assert probability == pytest.approx(1 / 3) and cells.kinds.tolist() == [0, 1]
    assert cells.images(32).shape == (2, 1, 32, 32) and cells.images(32)[0].eq(40).all()
    assert pickle.loads(pickle.dumps(cells))[0][1] == 1.0


def test_what_was_not_fetched_is_refused(tmp_path):
    assert not SolarCells.are_there(tmp_path)
    with pytest.raises(Refusal, match="data/elpv has not been fetched: run `python -m companion.fetch elpv`"):
        SolarCells(tmp_path)


def test_another_file_is_refused(tmp_path):
    wheel(tmp_path).write_bytes(b"no zip")
    with pytest.raises(Refusal, match=r"damaged or another file: remove it, then fetch elpv again"):
        SolarCells(tmp_path)


@pytest.mark.skipif(not SolarCells.are_there(find_root()), reason="data/elpv was not fetched")
def test_the_published_cells_are_2624():
    cells = SolarCells(find_root())
    assert len(cells) == 2624
    counts = [int((cells.probabilities.mul(3).round() == k).sum()) for k in range(4)]
    assert counts == [1508, 295, 106, 715] and int(cells.kinds.sum()) == 920 + 178 + 50 + 402


@pytest.mark.skipif(not SolarCells.are_there(find_root()), reason="data/elpv was not fetched")
def test_three_quarters_are_trained_on_with_equal_shares_of_defects():
    data = DATASETS["solar-cells"](find_root())
    assert (len(data.train), len(data.test)) == (1968, 656) and data.train.images.shape[1:] == (3, 96, 96)
    shares = [split.labels.double().mean().item() for split in (data.train, data.test)]
    assert shares[0] == pytest.approx(shares[1], abs=0.005) and 0.31 < shares[0] < 0.32
    assert torch.equal(data.train.images[:, 0], data.train.images[:, 2])
    few = data.test.first(100).labels.double().mean().item()  # the first are of all groups
    assert few == pytest.approx(shares[1], abs=0.12)


@pytest.mark.skipif(not SolarCells.are_there(find_root()), reason="data/elpv was not fetched")
def test_what_is_cut_is_the_middle_pixel_for_pixel():
    data, cells = DATASETS["solar-cells-288"](find_root()), SolarCells(find_root())
    assert (len(data.train), len(data.test)) == (1968, 656) and data.test.images.shape[1:] == (3, 288, 288)
    row = int(cells.split()[1][7])
    for channel in data.test.images[7]:
        assert torch.equal(channel, cells[row][0][0, 6:-6, 6:-6])
    assert torch.equal(data.train.labels, DATASETS["solar-cells"](find_root()).train.labels)


@pytest.mark.skipif(not SolarCells.are_there(find_root()), reason="data/elpv was not fetched")
@pytest.mark.parametrize("name", ["solar-cells-64", "solar-cells"])
@pytest.mark.parametrize("few", [30, 100, 300])
def test_few_images_are_of_all_groups_again_and_again(few, name):
    every, some = (DATASETS[which](find_root()) for which in (name, f"{name}-{few}-images"))
    assert len(some.train) == len(every.train) and torch.equal(some.test.images, every.test.images)
    assert len(some.train.images.flatten(1).unique(dim=0)) == few
    shares = [split.labels.double().mean().item() for split in (some.train.first(few), every.train)]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
