"""A converted `nn.Sequential` is the container that its original was, and nothing is added to a network without a word."""

import copy

import pytest
import torch
from torch import nn

import mass

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def sequence():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(1)
    ).eval()


class Lists(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.several, self.named = nn.ModuleList([nn.Conv2d(4, 4, 3, 2, 1)]), nn.ModuleDict({"a": nn.ReLU()})

    def forward(self, x):
        x = self.body(x)
        for module in (*self.several, *self.named.values()):
            x = module(x)
        return x.mean((2, 3))


def test_it_has_the_originals_modules_in_their_places():
    model, network = sequence(), mass.convert(sequence(), X)
    for converted in (network, copy.deepcopy(network)):
        assert len(converted) == len(list(converted)) == len(model)
        assert all(
            isinstance(one, type(other)) or "Exact" in type(one).__name__
            for one, other in zip(converted, model, strict=True)
        )
        assert converted[-1] is list(converted)[4] and type(converted[-1]) is nn.LogSoftmax


def test_what_stands_behind_the_last_map_can_be_replaced_by_its_place():
    network, model = mass.convert(sequence(), X), sequence()
    network[-1] = nn.Softmax(1)
    model[-1] = nn.Softmax(1)
    assert torch.equal(network(X), mass.convert(model, X)(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.append(nn.Linear(4, 2)), "append would change which modules run"),
        (lambda c: c.insert(0, nn.ReLU()), "insert would change which modules run"),
        (lambda c: c.pop(-1), "pop would change which modules run"),
        (lambda c: c.__delitem__(-1), "__delitem__ would change which modules run"),
        (lambda c: c + nn.Sequential(nn.ReLU()), "__add__ would change which modules run"),
        (lambda c: c[:2], "a part of a converted network is not converted for itself"),
        (lambda c: c.__setitem__(0, nn.Conv2d(3, 4, 3, 2, 1)), "'0' cannot become Conv2d"),
        (lambda c: c.add_module("more", nn.Tanh()), "'more' was added after the conversion, and would not run"),
        (lambda c: setattr(c, "mass_input", nn.Tanh()), "'mass_input' is the converted network's own"),
    ],
)  # fmt: skip
def test_what_would_not_run_is_refused(change, message):
    network = mass.convert(sequence(), X)
    with pytest.raises(mass.NotEquivariantError, match=message):
        network(X, change(network))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda c: c.body.append(nn.Tanh()), "body.2"),
        (lambda c: c.several.append(nn.Tanh()), "several.1"),
        (lambda c: c.named.update({"b": nn.Tanh()}), "named.b"),
    ],
)
def test_what_is_added_to_a_list_inside_is_refused_when_it_runs(change, path):
    network = mass.convert(Lists().eval(), X)
    network.loss = nn.CrossEntropyLoss()  # no list: nothing would have run it
    network(X)
    change(network)
    with pytest.raises(mass.NotEquivariantError, match=f"'{path}' was added after the conversion"):
        network(X)
