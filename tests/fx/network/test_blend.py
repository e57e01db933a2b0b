"""Blending: exact as ever, and continuous as no single choice can be."""

import copy
import pickle

import pytest
import torch
from torch import nn

import mass
from mass.errors import NotEquivariantError
from mass.functional.origin.blend import phase_energies, phase_weights
from mass.functional.origin.select import select_origin
from mass.fx.network.blending import Blending
from mass.fx.verification.verify_blend import Replay
from mass.nn.graph.alignment import SelectOrigin


def classifier(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip


class Dense(nn.Module):
    """Down twice and up again, past a shortcut: a map at the input's resolution."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.down, self.further = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.up, self.head = nn.ConvTranspose2d(8, 6, 2, 2), nn.ConvTranspose2d(6, 4, 2, 2)

    def forward(self, x):
        y = self.down(x).relu()
        y = y + self.up(self.further(y).relu())
        return {"map": self.head(y), "scores": y.mean((2, 3)).view(x.shape[0], -1)}


def images(count=3, size=16, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, size, size, generator=generator, dtype=torch.float64).to(dtype)


SHIFTS = [(0, 1), (1, 0), (3, 5), (7, 2), (8, 12), (15, 15)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_classifier_gives_the_same_bits_under_shifts(dtype, share):
    network, x = mass.convert(classifier(), images(1), blend=share, paths=6).to(dtype), images(dtype=dtype)
    y = network(x)
    for shift in SHIFTS:
        assert torch.equal(network(x.roll(shift, (2, 3))), y)


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_a_dense_output_moves_along_to_the_bit(share):
    network, x = mass.convert(Dense().eval(), images(1), blend=share, paths=6), images()
    y = network(x)
    for shift in SHIFTS:
        moved = network(x.roll(shift, (2, 3)))
        assert torch.equal(moved["map"], y["map"].roll(shift, (2, 3)))
        assert torch.equal(moved["scores"], y["scores"])


def test_symmetric_images_and_equal_energies_keep_their_bits():
    network = mass.convert(classifier(), images(1), blend=0.1, paths=8)
    tile = images(1, 4).repeat(1, 1, 4, 4)  # every choice ties with others
    mirrored = images(1)
    mirrored = mirrored + mirrored.flip(2)  # energies tie, contents do not
    x = torch.cat((tile, mirrored, torch.zeros_like(tile), torch.full_like(tile, 0.3)))
    y = network(x)
    for shift in SHIFTS:
        assert torch.equal(network(x.roll(shift, (2, 3))), y)


def largest_step(network, steps):
    """Along a line that leads through ties: the largest change of a logit between neighbours."""
    start, end = images(1, seed=1, dtype=torch.float64), images(1, seed=2, dtype=torch.float64)
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64).view(-1, 1, 1, 1)
    with torch.no_grad():
        y = network((1 - t) * start + t * end)
    return (y[1:] - y[:-1]).abs().max().item()


@pytest.mark.parametrize("paths", [2, 8])
def test_jumps_fall_with_the_step_and_those_of_a_choice_do_not(paths):
    chooses = mass.convert(classifier(), images(1)).double()
    coarse, fine = largest_step(chooses, 500), largest_step(chooses, 8000)
    assert fine > 0.5 * coarse
    blends = mass.convert(classifier(), images(1), blend=0.05, paths=paths).double()
    coarse, fine = largest_step(blends, 500), largest_step(blends, 8000)
    assert fine < 0.15 * coarse  # a sixteenth


def test_without_blend_and_without_ties_it_is_the_network_that_chooses():
    x = images()
    plain = mass.convert(classifier(), images(1))
    assert mass.convert(classifier(), images(1), blend=0.0).mass_blend is None
    assert torch.equal(mass.convert(classifier(), images(1), blend=1e-9)(x), plain(x))


def test_an_image_has_no_more_paths_than_it_may():
    for paths in (1, 2, 5):
        network = mass.convert(classifier(), images(1), blend=0.9, paths=paths)
        blending = Blending(network, network.mass_blend)
        with torch.no_grad():
            blending.run(images())
        assert torch.bincount(blending.image).max() <= paths
        total = torch.zeros(3, dtype=torch.float64).index_add_(0, blending.image, blending.weight)
        assert torch.allclose(total, torch.ones(3, dtype=torch.float64))


def test_more_exact_ties_than_paths_leave_one_choice():
    network, x = mass.convert(classifier(), images(1), blend=0.1, paths=2), torch.full((1, 3, 16, 16), 0.5)
    assert torch.equal(network(x), mass.convert(classifier(), images(1))(x))


def test_images_without_a_tie_are_computed_once():
    network, x = mass.convert(classifier(), images(1), blend=0.05), images(8)
    blending = Blending(network, network.mass_blend)
    blending.run(x)
    count = torch.bincount(blending.image)
    assert count.min() == 1
    assert count.max() > 1


def test_origins_may_have_shares_of_their_own():
    model, x = classifier(), images()
    names = [n for n, m in mass.convert(model, x).named_children() if isinstance(m, SelectOrigin)]
    network = mass.convert(model, x, blend={names[0]: 0.5})
    blending = Blending(network, network.mass_blend)
    blending.run(x)
    assert torch.bincount(blending.image).max() <= 4
    y = network(x)
    assert torch.equal(network(x.roll((3, 6), (2, 3))), y)


def test_gradients_are_the_weighted_paths_own():
    network, x = mass.convert(classifier(), images(1), blend=0.3, paths=4).double(), images(2, dtype=torch.float64)
    x.requires_grad_()
    tensors = [x, *network.parameters()]
    blending = Blending(network, network.mass_blend)
    ours = torch.autograd.grad(blending.run(x).sum(), tensors)
    alone = Replay(network, blending.chosen).run(x[blending.image])
    expected = torch.autograd.grad((blending.weight[:, None] * alone).sum(), tensors)
    assert len(alone) > len(x)
    assert all(torch.allclose(a, b) for a, b in zip(ours, expected, strict=True))


def test_copies_and_pickles_blend_as_well():
    network, x = mass.convert(classifier(), images(1), blend=0.3), images()
    y = network(x)
    assert torch.equal(copy.deepcopy(network)(x), y)
    assert torch.equal(pickle.loads(pickle.dumps(network))(x), y)


@pytest.mark.parametrize("size", [8, 12])
def test_energies_are_those_of_float64_and_move_with_the_image(size):
    x = images(2, size)
    direct = x.double().square().view(2, 3, size // 2, 2, size // 2, 2).sum((1, 2, 4)).flatten(1)
    found = phase_energies(x, 2)
    assert torch.allclose(found / found.amax(1, True), direct / direct.amax(1, True), rtol=1e-8)
    moved = phase_energies(x.roll((-1, -3), (2, 3)), 2)
    assert torch.equal(moved.sort(1).values, found.sort(1).values)
    best = select_origin(x, 2)
    assert torch.equal(found.argmax(1), best[:, 0] * 2 + best[:, 1])


def test_weights_do_not_depend_on_the_order_of_phases():
    energies = torch.rand(50, 16, dtype=torch.float64)
    order = torch.randperm(16)
    assert torch.equal(phase_weights(energies[:, order], 0.4), phase_weights(energies, 0.4)[:, order])


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"blend": -0.1}, ValueError, "at least 0 and below 1"),
        ({"blend": 1.0}, ValueError, "at least 0 and below 1"),
        ({"blend": "little"}, ValueError, "at least 0 and below 1"),
        ({"blend": 0.1, "paths": 0}, ValueError, "paths must be at least 1"),
        ({"blend": 0.1, "paths": 2.5}, TypeError, "paths must be an int"),
        ({"blend": 0.1, "origin": "seam"}, ValueError, "does not read"),
        ({"blend": {"stem": 0.1}}, ValueError, "the origins of this network are mass_origin_1"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, error, says):
    with pytest.raises(error, match=says):
        mass.convert(classifier(), images(1), **options)


class Coarse(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return self.conv(x)


class Labels(Coarse):
    def forward(self, x):
        return self.conv(x).mean((2, 3)).argmax(1)


class Loss(Coarse):
    def forward(self, x):
        return self.conv(x).mean()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Coarse(), "stays at the origin that was chosen"),
        (Labels(), "is int64"),
        (Loss(), "not one row an image"),
    ],
)
def test_outputs_that_cannot_be_averaged_are_refused(model, says):
    with pytest.raises(NotEquivariantError, match=says):
        mass.convert(model.eval(), images(1), blend=0.1)


def test_hooks_on_containers_are_refused_while_it_blends():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())

        def forward(self, x):
            return self.layer(x).mean((2, 3))

    network = mass.convert(Nested().eval(), images(1), blend=0.1)
    network.layer.register_forward_hook(lambda *_: None)
    with pytest.raises(NotEquivariantError, match="while a network blends"):
        network(images())


def test_it_is_not_exported():
    with pytest.raises(ValueError, match="converted without blend"):
        mass.onnx.export(mass.convert(classifier(), images(1), blend=0.1), images(1))
