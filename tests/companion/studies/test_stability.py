"""Notebook 15: every network is asked the same, and rows say what was asked."""

import torch
from torch import nn

from companion.studies.stability import answers, measures, networks


class Bright(nn.Module):
    """Two classes: is an image bright?"""

    def forward(self, x):
        level = x.mean((1, 2, 3))
        return torch.stack((level, 1 - level), 1)


def batches(count=6, size=40):
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return [(images[:4], torch.zeros(4, dtype=torch.int64)), (images[4:], torch.ones(2, dtype=torch.int64))]


def test_all_networks_see_the_same_images():
    one, other = (answers.answers(Bright(), batches(), lambda x: x, answers.CHANGES, seed=3) for _ in range(2))
    for name in answers.CHANGES:
        assert torch.equal(one.jump[name], other.jump[name])
        assert one.jump[name].max() > 0


def test_shifts_leave_the_mean_where_nothing_leaves_the_frame():
    said = answers.answers(Bright(), batches(), lambda x: x, answers.SHIFTS, seed=3)
    assert said.jump["circular shift 1"].max() < 1e-6
    assert said.consistent("circular").all()
    assert said.jump["ordinary shift 1"].max() > 1e-3  # zeros came in


def test_the_two_shifts_of_a_pair_differ():
    class Corner(nn.Module):
        def forward(self, x):
            return x[:, 0, :1, :7].flatten(1)

    said = answers.answers(Corner(), batches(), lambda x: x, answers.SHIFTS, seed=3)
    for kind in ("circular", "ordinary"):
        assert not torch.equal(said.jump[f"{kind} shift 1"], said.jump[f"{kind} shift 2"])
        assert not said.consistent(kind).all()


def test_one_grey_level_is_one_grey_level():
    images = torch.rand(2, 3, 8, 8)
    changed = answers.CHANGES[answers.ONE_LEVEL](images, torch.Generator().manual_seed(0))
    assert (changed - images).abs().max() <= 1 / 255 + 1e-6
    assert (changed != images).any()


def test_rows_count_every_image_once():
    said = {name: answers.answers(Bright(), batches(), lambda x: x, answers.CHANGES | answers.SHIFTS, seed=3)
            for name in (networks.PLAIN, networks.CIRCULAR, networks.MASS, networks.BLENDED)}  # fmt: skip
    assert {row["n"] for row in measures.main_rows(said)} == {6}
    assert len(measures.paired(said)) == 10
    rows = measures.ways(said, dict.fromkeys(said, Bright()), batches()[0][0])
    assert all(row["consistency"] == 100 and row["paths"] == 1 for row in rows)


def test_a_mean_over_fixed_phases_is_that():
    x = torch.rand(2, 3, 8, 8)
    network = nn.Sequential(nn.Conv2d(3, 2, 3, 2, 1), nn.Flatten())
    mean = networks.OverPhases(network, [(0, 0), (1, 3)])
    assert torch.allclose(mean(x), (network(x) + network(x.roll((1, 3), (2, 3)))) / 2)
    assert networks.paths_of(mean, x) == 2
