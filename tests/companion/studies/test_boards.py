"""Notebook 11's circuit boards: peaks are alarms, near a defect or far from all; counted are defects that every window sees."""

import torch

from companion.studies.periodic.boards.located import alarms_of
from companion.studies.periodic.boards.pairs import OURS, WAYS
from companion.studies.periodic.whole import HeatMap, in_pixels


def a_map(*hot):
    """Heat at multiples of 8 of a 96 x 96 image: 0, and as said."""
    heat = torch.full((96, 96), -torch.inf)
    heat[::8, ::8] = 0
    for y, x, value in hot:
        heat[y, x] = value
    return heat


def test_an_alarm_is_a_peak_near_a_defect_or_far_from_all():
    boxes = torch.tensor([[8.0, 8.0, 16.0, 16.0], [60.0, 60.0, 70.0, 70.0]])
    alarms = alarms_of(a_map((24, 24, 3.0), (16, 16, 2.0), (88, 8, 4.0)), boxes, torch.tensor([True, True]))
    assert alarms.found(1.0).tolist() == [True, False]  # (24, 24) is 8 pixels away; (16, 16) is no peak beside it
    assert alarms.found(3.5).tolist() == [False, False]
    assert 4.0 in alarms.false.tolist() and 3.0 not in alarms.false.tolist()


def test_a_defect_beyond_a_window_is_neither_counted_nor_a_false_alarm():
    boxes = torch.tensor([[8.0, 8.0, 16.0, 16.0], [80.0, 80.0, 88.0, 88.0]])
    alarms = alarms_of(a_map((16, 16, 3.0), (88, 88, 3.0)), boxes, torch.tensor([True, False]))
    assert alarms.found(1.0).tolist() == [True]
    assert 3.0 not in alarms.false.tolist()


def test_without_a_defect_every_peak_is_false():
    alarms = alarms_of(a_map((16, 16, 3.0)), torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool))
    assert not len(alarms.found(1.0)) and alarms.false.max() == 3


def test_a_plain_heat_map_stands_for_multiples_of_its_stride():
    class Constant(HeatMap):
        def forward(self, x):
            return torch.ones(1, 1, x.shape[2] // 8, x.shape[3] // 8)

    found = in_pixels(Constant(torch.nn.Identity()), torch.zeros(1, 1, 32, 32))
    assert found.isfinite().nonzero().remainder(8).eq(0).all() and found.isfinite().sum() == 16


def test_each_way_says_what_its_network_sees():
    pair = torch.randint(0, 256, (2, 2, 64, 64), dtype=torch.uint8)
    for name, way in WAYS.items():
        assert way.prepare(pair).shape[1] == (2 if name.startswith("both") else 1)
        assert way.registers == name.startswith("registered")
    assert WAYS[OURS].method == "mass"
