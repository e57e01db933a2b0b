"""Pairs of circuit boards: read as published, cut out apart; what is missing or broken is refused."""

import pytest
import torch
from PIL import Image

from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.data.published.deeppcb import CROP, SIDE, DeepPcb, crops, difference, whole
from companion.studies.periodic.boards.registration import registered

NAME = "group1/1/100"


@pytest.fixture
def root(tmp_path):
    """One pair: stripes and dots, a copper blot in the test."""
    folder = tmp_path / "data/deeppcb/PCBData"
    for place in ("group1/1", "group1/1_not"):
        (folder / place).mkdir(parents=True)
    template = 255 * (torch.rand(80, 80, generator=torch.Generator().manual_seed(0)) < 0.3).byte()
    template = template.repeat_interleave(8, 0).repeat_interleave(8, 1)
    test = template.clone()
    test[300:320, 310:340] = 255 - test[300:320, 310:340]
    for which, image in (("temp", template), ("test", test)):
        Image.fromarray(image.numpy()).convert("1").save(folder / f"{NAME}_{which}.png")
    (folder / "group1/1_not/100.txt").write_text("310 300 340 320 5\n")
    for split in ("trainval", "test"):
        (folder / f"{split}.txt").write_text(f"{NAME}.jpg group1/1_not/100.txt\n")
    return tmp_path


def test_a_pair_is_read_as_published(root):
    boards = DeepPcb(root, "test")
    template, test, boxes, kinds = boards[0]
    assert len(boards) == 1 and template.shape == test.shape == (1, SIDE, SIDE) and template.dtype == torch.uint8
    assert boxes.tolist() == [[310, 300, 340, 320]] and kinds.tolist() == [4]
    rows, columns = (template != test)[0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (300, 319, 310, 339)


def test_a_crop_has_its_defect_and_the_other_has_none(root):
    split = crops(DeepPcb(root, "trainval"), 1, seed=0)
    assert split.images.shape == (2, 2, CROP // 2, CROP // 2) and split.labels.tolist() == [1, 0]
    differs = difference(split.images)
    assert differs[0].sum() == 255 * 20 * 30 // 4 and differs[1].sum() == 0  # the blot has even sides and places


def test_what_is_apart_is_found_again(root):
    together, apart = (crops(DeepPcb(root, "test"), 1, seed=0, apart=by).images for by in (0, 16))
    assert torch.equal(together[:, 0], apart[:, 0])
    assert torch.equal(together[:, 1, 8:, 8:], apart[:, 1, :-8, :-8])
    assert difference(apart)[1].any()
    again = registered(apart)
    assert torch.equal(again[:, 1, 8:, 8:], together[:, 1, 8:, 8:])
    assert not difference(again)[1].any()


def test_crops_are_apart_by_chance_and_the_same_again(root):
    drawn, again = (crops(DeepPcb(root, "test"), 1, seed=0, apart=None).images for _ in range(2))
    together = crops(DeepPcb(root, "test"), 1, seed=0).images
    assert torch.equal(drawn, again) and torch.equal(drawn[:, 0], together[:, 0])
    assert not torch.equal(drawn[:, 1], together[:, 1])


def test_a_whole_board_is_cut_out_as_crops_are(root):
    template, test, *_ = DeepPcb(root, "test")[0]
    pair = whole(template, test, 16)
    assert pair.shape == (1, 2, 288, 288)
    assert torch.equal(pair[0, 1, :-8, :-8], whole(template, test, 0)[0, 1, 8:, 8:])


def test_what_was_not_fetched_is_refused(tmp_path):
    with pytest.raises(Refusal, match="data/deeppcb has not been fetched: run `make fetch DATA=deeppcb`"):
        DeepPcb(tmp_path, "test")


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("test.txt", "", "test.txt must name an image and its boxes on every line"),
        ("test.txt", "one\n", "test.txt must name an image and its boxes on every line"),
        (f"{NAME}_temp.png", "no image", "100_temp.png is missing or no image: fetch deeppcb again"),
        ("group1/1_not/100.txt", "1 2 3\n", "100.txt is missing, or holds no lines 'x1 y1 x2 y2 kind'"),
        ("group1/1_not/100.txt", "1 2 3 4 nine\n", "holds no lines"),
        ("group1/1_not/100.txt", "1 2 3 4 9\n", "names a kind that is not 1 to 6"),
    ],
)
def test_what_is_broken_is_refused(root, file, content, sentence):
    (root / "data/deeppcb/PCBData" / file).write_text(content)
    with pytest.raises(Refusal, match=sentence):
        DeepPcb(root, "test")[0]


def test_there_are_two_splits_and_a_reach(root):
    with pytest.raises(Refusal, match="trainval and test, not 'val'"):
        DeepPcb(root, "val")
    with pytest.raises(Refusal, match="0 to 32 pixels apart, not 33"):
        crops(DeepPcb(root, "test"), 1, 0, apart=33)


@pytest.mark.skipif(not (find_root() / "data/deeppcb").exists(), reason="data/deeppcb was not fetched")
def test_the_published_lists_are_a_thousand_and_five_hundred():
    assert [len(DeepPcb(find_root(), split)) for split in ("trainval", "test")] == [1000, 500]
