"""Images of a batch that work together: each has origins of its own, so one position of two maps is two places."""

import pytest
import torch
from torch import nn

import mass

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
OTHER = torch.tensor([1, 0])


class Layers(nn.Module):
    """Two convolutions and a function of the first one's map between them, averaged over positions."""

    def __init__(self, between=lambda y: y, behind=lambda y: y):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.between, self.behind = between, behind
        self.register_buffer("other", OTHER)

    def forward(self, x):
        return self.behind(self.b(self.between(self.a(x))).relu().mean((2, 3)))


@pytest.mark.parametrize(
    "between",
    [
        lambda y: y + y.roll(1, 0),
        lambda y: y - y.amax(0, keepdim=True),
        lambda y: y - y.mean(0, keepdim=True),
        lambda y: y.flip(0),
        lambda y: y - y.max(0, keepdim=True).values,
    ],
    ids=["roll", "maximum", "mean", "flip", "maximum and its index"],
)
@pytest.mark.parametrize("images", [1, 2])
def test_what_says_so_is_refused(between, images):
    with pytest.raises(mass.NotEquivariantError, match="works across images at each position"):
        mass.convert(Layers(between).eval(), X[:images])


@pytest.mark.parametrize(
    ("between", "node"),
    [
        (lambda y: y + torch.cat(y.chunk(2)[::-1]), "cat"),
        (lambda y: torch.stack(list(y.unbind(0))[::-1]) * y, "stack"),
        (lambda y: torch.einsum("bchw,bd->dchw", y, torch.ones(2, 2)), "einsum"),
        (lambda y: y.index_add(0, OTHER, y), "index_add"),
        (lambda y: y * y[OTHER], "getitem"),
        (lambda y: torch.maximum(y, y.index_select(0, OTHER)), "index_select"),
    ],
    ids=["chunk", "unbind", "einsum", "index_add", "indices", "index_select"],
)
@pytest.mark.parametrize("size", [16, 8])
def test_what_does_not_say_so_is_asked(between, node, size):
    """At 8 pixels a step of the coarsest lattice leads around the map, and a larger one is asked."""
    with pytest.raises(mass.NotEquivariantError, match=rf"node '{node}.*': combines several images of a batch"):
        mass.convert(Layers(between).eval(), X[..., :size, :size])


class Mixing(nn.Module):
    def forward(self, x):
        return x + x.roll(1, 0)


@pytest.mark.parametrize(
    ("images", "message"), [(1, "combines several images of a batch"), (2, "does not commute with shifts as its rule")]
)
def test_a_marked_module_is_asked_with_two_images(images, message):
    mass.mark_leaf(Mixing, period=1)
    model = Layers().eval()
    model.between = Mixing()
    with pytest.raises(mass.NotEquivariantError, match=f"node 'between': .*{message}"):
        mass.convert(model, X[:images])


@pytest.mark.parametrize(
    "behind",
    [lambda y: y - y.mean(0, keepdim=True), lambda y: y[OTHER], lambda y: y.softmax(0), lambda y: y.sum()],
    ids=["mean", "indices", "softmax", "sum"],
)
def test_what_has_no_positions_may_work_together(behind):
    network = mass.convert(Layers(behind=behind).eval(), X)
    y = network(X)
    for shifts in ([(3, 5), (3, 5)], [(3, 5), (0, 2)]):
        moved = torch.stack([x.roll(t, (1, 2)) for x, t in zip(X, shifts, strict=True)])
        assert torch.equal(network(moved), y)
