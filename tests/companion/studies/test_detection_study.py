"""Notebook 14: the pieces on the torus move along, moves are what they say, and a window compares what both views see."""

import pytest
import torch

import mass
from companion.data.boxed import Boxed
from companion.studies.detection import figures, photographs, pieces, shifted
from mass.detection import shift_boxes


@pytest.mark.parametrize("name", pieces.PIECES)
def test_every_piece_moves_along_on_the_torus(name):
    generator = torch.Generator().manual_seed(7)
    found = [pieces.PIECES[name](generator, by) for by in [(1, 0), (5, 9), (40, 63), (20, 31)] * 3]
    assert all(torus for _, torus in found)
    assert not all(plain for plain, _ in found)


def test_residues_are_distinct_and_begin_with_none():
    found = shifted.residues(40, 3)
    assert found[0] == (0, 0)
    assert len(set(found)) == 40
    assert all(0 <= side < shifted.RESIDUES for shift in found for side in shift)


def test_boxes_are_where_the_pixels_went():
    images = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    images[..., 8:20, 30:40] = 1
    test = Boxed(images, torch.tensor([[[30.0, 8, 40, 20, 0]]]))
    for moves in (shifted.circular(test, [(0, 0), (5, 7)]), shifted.window(test, [(0, 0), (5, 7)])):
        for move in moves:
            x1, y1, x2, y2, _ = move.boxes[0, 0].long().tolist()
            assert (move.images[0, 0, y1:y2, x1:x2] == 1).all()
            assert move.images.sum() == 120


def test_on_a_canvas_an_ordinary_move_is_a_shift_of_the_whole():
    images = torch.rand(2, 3, 384, 384, generator=torch.Generator().manual_seed(0))
    still, moved = (photographs.moved(images, "on a canvas", by) for by in ([(0, 0)] * 2, [(3, 9), (31, 0)]))
    assert torch.equal(mass.shift(still, torch.tensor([(3, 9), (31, 0)])), moved)
    ground = still[:, :, :32]
    assert torch.equal(ground, ground[:, :, :1, :1].expand_as(ground))  # the whole image can move up by 31 rows


def test_in_a_window_only_what_both_see_counts():
    inner, outer = torch.tensor([[100.0, 100, 140, 150]]), torch.tensor([[0.0, 100, 20, 150]])
    found = {"boxes": torch.cat((inner, outer)), "scores": torch.tensor([0.9, 0.8]), "labels": torch.tensor([0, 0])}
    size = (photographs.SIDE, photographs.SIDE)
    later = {"boxes": shift_boxes(inner, (4, 8), size), "scores": torch.tensor([0.9]), "labels": torch.tensor([0])}
    before, after = photographs._both_in_view([found], [later], [(4, 8)])
    assert before[0]["boxes"].tolist() == inner.tolist()
    assert after[0]["boxes"].tolist() == later["boxes"].tolist()


def test_coco_has_80_classes():
    assert len(photographs.classes()) == 80
    assert photographs.classes()[18] == "sheep"


def test_names_stay_inside_what_is_drawn():
    boxes = torch.tensor([[20.0, 20, 40, 40], [21, 20, 41, 40], [70, 80, 99, 99], [0, 0, 4, 4]])
    found = {"boxes": boxes, "scores": torch.tensor([0.912, 0.8, 0.7, 0.6]), "labels": torch.tensor([0, 1, 0, 1])}
    other = found | {"scores": found["scores"].clone().fill_(0.5)}
    rows = {
        "A": [(title, torch.zeros(1, 100, 100), one) for title, one in (("unmoved", found), ("moved", other))],
        "B": [(title, torch.zeros(1, 100, 100), found) for title in ("unmoved", "moved")],
    }
    fig = figures.side_by_side(rows, ["mousebite", "open"], view=(10, 10, 60))
    assert fig.get_suptitle() == "Names or scores change: with A at 1 of 1 moves, with B at none of 1 moves"
    texts = [text for text in fig.axes[0].texts]
    assert [text.get_text() for text in texts] == ["mousebite 0.91", "open 0.80"]
    assert all(10 <= x <= 70 and 10 <= y <= 70 for x, y in (text.get_position() for text in texts))
    assert texts[0].get_position()[1] != texts[1].get_position()[1]
