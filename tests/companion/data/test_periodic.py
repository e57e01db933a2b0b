"""Periodic structures: they wrap, follow from a seed, and say where their defects are."""

import pytest
import torch

from companion.core.errors import Refusal
from companion.data.generated.defects import boxes
from companion.data.generated.periodic import draw
from companion.data.generated.structures import CELLS, KINDS, Structure

SMALL = {"size": 48, "defective": 1.0}
PITCHES = {"lines": 8, "vias": 48 / 7, "pixels": 6, "honeycomb": 8}
STRUCTURES = [Structure(cell, pitch, **SMALL) for cell, pitch in PITCHES.items()]
STILL = {"noise": 0.0, "light": 0.0}


def by(*pair, count=4):
    return torch.tensor([pair] * count, dtype=torch.float64)


def wrapped(taken, period):
    """Positions of a box, modulo the side."""
    return {place % period for place in range(*taken)}


@pytest.mark.parametrize("structure", STRUCTURES, ids=CELLS)
def test_misregistration_by_whole_pixels_is_a_circular_shift(structure):
    here, there = draw(structure, 4, 1, by(0.25, 0.5)), draw(structure, 4, 1, by(-2.75, 11.5))
    assert torch.equal(there.images, here.images.roll((3, -11), (2, 3)))
    assert torch.equal(there.defects, here.defects.roll((3, -11), (1, 2)))
    assert torch.equal(there.labels, here.labels)


@pytest.mark.parametrize("structure", STRUCTURES, ids=CELLS)
def test_a_pitch_is_a_symmetry_of_what_has_no_defect(structure):
    still = Structure(structure.cell, structure.pitch, size=48, defective=0.0, **STILL)
    down = 2 * still.row_pitch if structure.cell == "honeycomb" else still.row_pitch
    here, there = draw(still, 1, 0).images.int(), draw(still, 1, 0, by(down, structure.pitch, count=1)).images.int()
    assert (here - there).abs().max() <= 1  # rounding of a grey level
    assert here.float().std() > 10


@pytest.mark.parametrize("wraps", [True, False])
def test_the_border_is_as_any_other_place(wraps):
    """What stands at the border of one image stands in the middle of another, drawn by other numbers."""
    still = Structure("pixels", 8, wraps=wraps, **SMALL | STILL)
    here, there = draw(still, 4, 2, by(0, 0)), draw(still, 4, 2, by(20, 24))
    inner = (here.images[..., 20:, 24:].int(), there.images[..., :-20, :-24].int())
    assert (inner[0] - inner[1]).abs().max() <= 1


def test_a_window_sees_other_noise_where_it_stands_elsewhere():
    still = Structure("vias", 7.3, wraps=False, **SMALL)
    here, there = draw(still, 4, 2), draw(still, 4, 2, by(16, 0))
    assert not torch.equal(here.images[..., 16:, :], there.images[..., :-16, :])
    assert (here.images[..., 16:, :].float() - there.images[..., :-16, :].float()).abs().mean() < 25


@pytest.mark.parametrize("structure", STRUCTURES, ids=CELLS)
def test_a_seed_says_everything(structure):
    one, same, other = (draw(structure, 5, seed) for seed in (7, 7, 8))
    for name in ("images", "labels", "defects"):
        assert torch.equal(getattr(one, name), getattr(same, name))
    assert not torch.equal(one.images, other.images)
    assert one.images.shape == (5, 1, 48, 48) and one.images.dtype == torch.uint8


@pytest.mark.parametrize("structure", STRUCTURES, ids=CELLS)
@pytest.mark.parametrize("kind", KINDS)
def test_masks_labels_and_boxes_agree(structure, kind):
    found = draw(Structure(structure.cell, structure.pitch, kinds=(kind,), defects=2, **SMALL), 6, 3, by(5, 9, count=6))
    assert torch.equal(found.labels, torch.full((6,), 1 + KINDS.index(kind)))
    for defects in found.defects:
        around = boxes(defects)
        assert len(around) == 2
        for number, (x1, y1, x2, y2) in enumerate(around, 1):
            rows, columns = ((defects == number).any(axis).nonzero().flatten().tolist() for axis in (1, 0))
            assert set(rows) <= wrapped((y1, y2), 48) and set(columns) <= wrapped((x1, x2), 48)
            assert {y1 % 48, (y2 - 1) % 48} <= set(rows) and {x1 % 48, (x2 - 1) % 48} <= set(columns)
            assert max(x2 - x1, y2 - y1) <= 2 * structure.pitch


def test_equal_defects_are_equal_to_the_bit():
    still = Structure("vias", 8, kinds=("resized",), defects=3, **SMALL | STILL)
    found = draw(still, 1, 5)
    patches = [
        found.images[0, 0].roll((-y1, -x1), (0, 1))[: y2 - y1, : x2 - x1] for x1, y1, x2, y2 in boxes(found.defects[0])
    ]
    assert len(patches) == 3 and all(torch.equal(patch, patches[0]) for patch in patches)


def test_some_images_have_no_defect():
    found = draw(Structure(), 60, 0)
    assert 15 < int((found.labels == 0).sum()) < 45
    assert torch.equal(found.labels > 0, found.masks.flatten(1).any(1))
    assert set(found.labels.tolist()) == set(range(6))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"cell": "weave"}, "There is no cell named 'weave'; known: lines, vias"),
        ({"kinds": ()}, "must be some of missing, bridged"),
        ({"kinds": ("scratch",)}, r"not \['scratch'\]"),
        ({"pitch": 2.0}, "from 3 pixels to half the side, 32, not 2"),
        ({"pitch": 40.0}, "not 40"),
        ({"pitch": 7.0}, r"take 64/10 = 6.4, 64/9 = 7.11111, or wraps=False"),
        ({"defective": 1.5}, "The defective must be from 0 to 1, not 1.5"),
        ({"fill": 0.9}, "The fill must be"),
        ({"noise": -1.0}, "The noise must be from 0 to 64, not -1"),
        ({"blur": 3.0}, "The blur must be from 0 to 1.3"),
        ({"defects": 8}, "room for 1 to 7 defects with others around none, not for 8"),
        ({"defects": 0}, "not for 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, sentence):
    with pytest.raises(Refusal, match=sentence):
        Structure(**wrong)


def test_a_camera_cannot_stand_just_anywhere():
    with pytest.raises(Refusal, match=r"shape \(4, 2\), not \(3, 2\)"):
        draw(Structure(), 4, 0, by(0, 0, count=3))
    with pytest.raises(Refusal, match="at most its side, 64 pixels, not by 65"):
        draw(Structure(wraps=False), 4, 0, by(0, 65))


def test_there_is_at_least_one_photograph():
    with pytest.raises(Refusal, match="At least one photograph must be asked for, not 0"):
        draw(Structure(), 0, 0)
