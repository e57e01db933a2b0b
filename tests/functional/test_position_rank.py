"""Layouts by rank: two positions are alike exactly when the map read from one is the map read from the other."""

import itertools

import pytest
import torch

import mass
from companion.models.random_weights import calibrated
from mass.functional.origin.position_hash import layout_hash, pixel_hash
from mass.functional.origin.position_rank import layout_ranks, read_layout

# Two colours of one hash, found in 2^32 steps by running the hash backwards: an ordinary one, and mid-grey.
COLLIDING = torch.tensor([0x3F8554B4, 0x3F8A0CD0, 0xB7A8E0BB - (1 << 32)], dtype=torch.int32).view(torch.float32)
GREY = 0.5


def seemingly_symmetric(height: int = 64, width: int = 96) -> torch.Tensor:
    """Four dots on grey, which are no dots to the hash: it says that all shifts leave the image as it is."""
    x = torch.full((1, 3, height, width), GREY)
    for i, j in ((20, 30), (41, 51), (41, 52), (30, 61)):
        x[0, :, i, j] = COLLIDING
    return x


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ranks_are_readings_in_order(dtype):
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        height, width, channels = (int(torch.randint(1, 7, (), generator=generator)) for _ in range(3))
        x = torch.randint(0, 2, (2, channels, height, width), generator=generator).to(dtype)
        x = x.repeat(1, 1, 2, 3) if seed % 3 == 0 else x
        for image, ranks in zip(x, layout_ranks(x), strict=True):
            places = list(itertools.product(*map(range, ranks.shape)))
            readings = {(i, j): tuple(image.roll((-i, -j), (1, 2)).flatten().tolist()) for i, j in places}
            for here, there in itertools.combinations(places, 2):
                assert (ranks[here] == ranks[there]).item() == (readings[here] == readings[there])


def test_ranks_move_along_and_do_not_see_their_neighbours():
    x = torch.randint(0, 2, (3, 2, 8, 12)).float()
    for t in ((-1, 0), (0, -5), (-3, -7)):
        assert torch.equal(layout_ranks(x.roll(t, (2, 3))), layout_ranks(x).roll(t, (1, 2)))
    together, alone = layout_ranks(x)[1].flatten(), layout_ranks(x[1:2]).flatten()
    assert torch.equal(together.argsort(stable=True), alone.argsort(stable=True))


def test_zeros_and_nans_are_one_each():
    x = torch.tensor([0.0, -0.0, torch.nan, -torch.nan]).view(1, 1, 1, 4)
    assert layout_ranks(x.repeat(1, 1, 2, 1))[0].unique().numel() == 4
    assert layout_ranks(x[..., :2])[0].unique().numel() == layout_ranks(x[..., 2:])[0].unique().numel() == 1


def test_hashes_unless_they_coincide():
    x = torch.cat((torch.randn(1, 3, 8, 12), torch.ones(1, 3, 8, 12)))
    found = read_layout(x)
    assert torch.equal(found[0], layout_hash(x)[0]) and torch.equal(found[1], torch.zeros(8, 12, dtype=torch.int64))


def test_an_image_made_to_look_symmetric():
    """To the hash it is one colour. Ranks see the dots, and the network's answer stays where hashes lose it."""
    x = seemingly_symmetric()
    assert len(pixel_hash(x).unique()) == 1 and len(read_layout(x).unique()) == x[0, 0].numel()
    converted = mass.convert(calibrated("resnet18"), x)
    shifts = [(44, 83), (47, 48), (20, 31), (1, 1)]
    assert mass.certify(converted, x, shifts).identical.all()


def test_origins_of_an_image_made_to_look_symmetric():
    x = seemingly_symmetric()
    for t in ((44, 83), (47, 48), (20, 31), (1, 1)):
        moved = mass.shift(x, torch.tensor(t))
        here, there = (mass.shift(y, mass.select_origin(y, 2)) for y in (x, moved))
        steps = [(i, j) for i in range(0, x.shape[2], 2) for j in range(0, x.shape[3], 2)]
        assert any(torch.equal(here.roll(step, (2, 3)), there) for step in steps)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a machine with a GPU")
def test_a_gpu_chooses_the_cpus_origins_when_asked_to_be_exact():
    for t in ((0, 0), (1, 1), (44, 83)):
        moved = mass.shift(seemingly_symmetric(), torch.tensor(t))
        with mass.exact():
            assert torch.equal(mass.select_origin(moved.cuda(), 2).cpu(), mass.select_origin(moved, 2))
