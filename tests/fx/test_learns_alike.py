"""A converted network learns as its model does: gradients that tracing loses are noticed; so are forwards that were replaced."""

import pytest
import torch
from torch import nn

import mass

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Sign(torch.autograd.Function):
    """Of what has no gradient at all, one."""

    @staticmethod
    def forward(ctx, x):
        return (x > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def frozen(conv, x):
    with torch.no_grad():
        return conv(x)


class Network(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.a, self.b, self.first = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), first

    def forward(self, x):
        return self.b(self.first(self.a, x)).mean((2, 3))


@pytest.mark.parametrize(
    "first",
    [lambda a, x: Reversal.apply(a(x)), lambda a, x: Rounding.apply(a(x)), frozen],
    ids=["reversal", "straight", "frozen"],
)
def test_another_gradient_is_noticed(first):
    """In eval mode the network is converted for evaluation alone; in train mode it is refused."""
    network = mass.convert(Network(first).eval(), X)
    assert mass.certify(network, X)
    with pytest.raises(mass.NotEquivariantError, match=r"learns otherwise than the model: the gradient of 'a.weight'"):
        network.train()
    with pytest.raises(mass.NotEquivariantError, match=r"learns otherwise .* convert the model in eval mode"):
        mass.convert(Network(first).train(), X)


def test_a_gradient_that_is_lost_altogether_is_noticed():
    class Signs(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 1, 1)

        def forward(self, x):
            return Sign.apply(self.conv(x))

    with pytest.raises(
        mass.NotEquivariantError, match=r"learns otherwise than the model: the gradient of 'conv.weight'"
    ):
        mass.convert(Signs().train(), X)


def test_the_same_gradient_is_no_matter():
    network = mass.convert(Network(lambda a, x: a(x)).train(), X)
    assert network.mass_evaluation_only == "" and network.training


@pytest.mark.parametrize("name", ["forward", "_conv_forward"])
def test_a_layer_whose_forward_was_replaced_is_refused(name):
    model = Network(lambda a, x: a(x)).eval()
    original = getattr(model.b, name)
    setattr(model.b, name, lambda *args: 2 * original(*args))
    with pytest.raises(mass.NotEquivariantError, match=rf"{name} of 'b' \(Conv2d\) was replaced"):
        mass.convert(model, X)


class Layers(nn.Module):
    """Two convolutions and a function of them."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.function = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), function

    def forward(self, x):
        return self.function(self, x)


def dropped(layers, x):
    y = layers.a(x)
    return (y if not (layers.training and torch.rand([]) < 0.1) else 2 * y).mean((2, 3))


def test_a_decision_by_chance_is_not_frozen():
    """LayerDrop: in evaluation it decides nothing."""
    network = mass.convert(Layers(dropped).eval(), X)
    with pytest.raises(mass.NotEquivariantError, match="draws random numbers while it is traced"):
        network.train()
    with pytest.raises(mass.NotEquivariantError, match="draws random numbers while it is traced"):
        mass.convert(Layers(dropped).train(), X)


@pytest.mark.parametrize(
    "function",
    [lambda s, x: s.b(s.a(x) + s.a(x).roll(1, 0)), lambda s, x: s.b(s.a(x) - s.a(x).amax(0, keepdim=True))],
    ids=["roll", "maximum"],
)
def test_what_reads_other_images_is_refused_by_an_example_of_one(function):
    with pytest.raises(mass.NotEquivariantError, match="does not move with the image"):
        mass.convert(Layers(lambda s, x: function(s, x).mean((2, 3))).eval(), X[:1])


@pytest.mark.parametrize("softmax", [torch.softmax, torch.log_softmax, lambda y, *how: y.softmax(*how)])
def test_a_dtype_by_place_is_kept(softmax):
    network = mass.convert(Layers(lambda s, x: softmax(s.a(x), 1, torch.float64)).eval(), X)
    assert network(X).dtype == torch.float64


def test_a_question_about_the_dtype_is_answered():
    network = mass.convert(Layers(lambda s, x: s.a(x) if x.dtype == torch.float32 else 2 * s.a(x)).eval(), X)
    assert mass.certify(network, X, shifts=4)


def test_what_a_graph_cannot_fill_is_refused():
    class Out:
        def __init__(self, y):
            self.y = y

    with pytest.raises(mass.NotEquivariantError, match="is a Out, which a graph cannot fill with its tensors"):
        mass.convert(Layers(lambda s, x: Out(s.a(x))).eval(), X)


def test_rows_are_no_channels():
    """Batch normalisation over rows: all weights are alike before it has learned, and it would pass for one over channels."""
    model = Layers(lambda s, x: s.a(s.norm(x.transpose(1, 3)).transpose(1, 3)).mean((2, 3)))
    model.norm = nn.BatchNorm2d(16)
    network = mass.convert(model.eval(), X)
    with torch.no_grad():
        network.norm.weight.normal_()
    assert mass.certify(network, X, shifts=8)


class Running(nn.Module):
    """A mean of its own, kept while it trains."""

    def __init__(self):
        super().__init__()
        self.conv, self.mean = nn.Conv2d(3, 4, 3, 2, 1), nn.Buffer(torch.zeros(()))

    def forward(self, x):
        y = self.conv(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.mean().detach()
        return y.mean((2, 3)) - self.mean


def test_a_buffer_that_forward_assigns_is_named():
    with pytest.raises(mass.NotEquivariantError, match="buffer '0.mean' is assigned in forward"):
        mass.convert(nn.Sequential(Running(), nn.Linear(4, 2)).train(), X)
    model = Running().eval()
    converted = mass.convert(model, X)
    assert mass.certify(converted, X, shifts=4) and isinstance(model.mean, torch.Tensor)
    with pytest.raises(mass.NotEquivariantError, match="converted for evaluation|in eval mode|evaluation"):
        converted.train()(X)
