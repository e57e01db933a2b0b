"""What became of detections: the same set, or which were lost and how far others are off."""

import pytest
import torch

from companion.measures.detection.detection_sets import change, of_something, summary
from mass.detection import shift_detections

SIZE = (64, 64)
FOUND = {
    "boxes": torch.tensor([[60.0, 10, 72, 20], [5.0, 30, 15, 44]]),
    "scores": torch.tensor([0.9, 0.6]),
    "labels": torch.tensor([1, 2]),
}
NOTHING = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}


@pytest.mark.parametrize("by", [(0, 0), (3, 5), (50, 63)])
def test_what_moved_along_is_identical(by):
    found = change(FOUND, shift_detections(FOUND, by, SIZE), by, SIZE)
    assert found.identical
    assert not found.differs
    assert found.errors.tolist() == [0, 0]


def test_what_stayed_is_off_by_the_shift():
    found = change(FOUND, FOUND, (3, 0), SIZE)
    assert not found.identical
    assert found.errors.tolist() == [3, 3]


def test_another_name_is_another_object_and_another_score_is_not():
    renamed = FOUND | {"labels": torch.tensor([1, 1])}
    assert change(FOUND, renamed, (0, 0), SIZE).lost == 2
    scored = change(FOUND, FOUND | {"scores": torch.tensor([0.9, 0.5])}, (0, 0), SIZE)
    assert not scored.differs
    assert scored.scores.tolist() == pytest.approx([0, 0.1])


def test_what_vanished_or_appeared_is_lost():
    assert change(FOUND, NOTHING, (0, 0), SIZE).lost == change(NOTHING, FOUND, (0, 0), SIZE).lost == 2
    assert change(NOTHING, NOTHING, (5, 5), SIZE).empty


def test_a_summary_counts_images_and_their_worst_move():
    still, gone = change(FOUND, FOUND, (0, 0), SIZE), change(FOUND, NOTHING, (0, 0), SIZE)
    found = summary([[still, still], [still, gone]])
    assert (found["n"], found["identical"], found["changed"], found["lost"]) == (2, 50, 50, 0.5)


def test_images_without_any_object_are_left_out_for_all_networks_alike():
    empty, full = change(NOTHING, NOTHING, (0, 0), SIZE), change(FOUND, FOUND, (0, 0), SIZE)
    kept = of_something({"a": [[empty], [empty], [full]], "b": [[empty], [full], [empty]]})
    assert [len(images) for images in kept.values()] == [2, 2]
