"""A converted network learns as its model does: gradients that tracing loses are noticed; so are forwards that were replaced."""

import copy

import numpy as np
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


def traces_functions():
    """Whether autograd functions are traced by this PyTorch; by 2.11 they are not, and such models are refused."""
    try:
        mass.convert(Network(lambda a, x: Reversal.apply(a(x))).eval(), X, verify=False)
    except mass.NotEquivariantError as refusal:
        assert "could not be traced" in str(refusal)
        return False
    return True


applied = pytest.mark.skipif(not traces_functions(), reason="autograd functions are refused: they are not traced here")


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda a, x: Reversal.apply(a(x)), marks=applied),
        pytest.param(lambda a, x: Rounding.apply(a(x)), marks=applied),
        frozen,
    ],
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


@applied
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


class Encoded(nn.Module):
    """An encoder without gradients while it trains, and a head."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 3, 1, 1)

    def forward(self, x):
        with torch.set_grad_enabled(not self.training):
            y = self.encoder(x)
        return self.head(y.relu()).mean((2, 3))


class Rounded(nn.Module):
    """The values of a layer rounded, its gradients those of the values."""

    def __init__(self, first):
        super().__init__()
        self.conv, self.head, self.first = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 3, 1, 1), first

    def forward(self, x):
        y = self.conv(Rounding.apply(x)) if self.first else Rounding.apply(self.conv(x))
        return self.head(y).mean((2, 3))


def test_no_gradient_in_training_alone_is_noticed():
    with pytest.raises(mass.NotEquivariantError, match="the gradient of 'encoder.weight' is another"):
        mass.convert(Encoded().train(), X)
    assert "encoder.weight" in mass.convert(Encoded().eval(), X).mass_evaluation_only


@applied
def test_parameters_that_are_frozen_now_may_be_trained_later():
    model = Rounded(first=False).train()
    model.conv.requires_grad_(False)
    with pytest.raises(mass.NotEquivariantError, match="the gradient of 'conv.weight' is another"):
        mass.convert(model, X)
    assert not model.conv.weight.requires_grad and model.head.weight.requires_grad


@applied
def test_the_gradient_of_the_image_is_compared():
    with pytest.raises(mass.NotEquivariantError, match="the gradient of 'the input' is another"):
        mass.convert(Rounded(first=True).train(), X)


def test_numpys_chance_is_seen():
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.block = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)

        def forward(self, x):
            y = self.conv(x)
            if not (self.training and np.random.rand() < 0.2):
                y = y + self.block(y)
            return y.mean((2, 3))

    with pytest.raises(mass.NotEquivariantError, match="draws random numbers while it is traced"):
        mass.convert(Skipping().train(), X)


def test_a_hook_on_a_parameters_gradient_is_refused():
    """PyTorch does not copy it: what it holds still would be trained."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1))
    handle = model[0].weight.register_hook(lambda gradient: gradient * 0)
    with pytest.raises(mass.NotEquivariantError, match="'0.weight' has a hook on its gradient"):
        mass.convert(model, X)
    handle.remove()
    mass.convert(model, X)


def test_a_part_in_single_precision_is_compared_as_such():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return (y * y.float().pow(2).mean(1, keepdim=True).add(1e-6).rsqrt().to(y.dtype)).float().mean((2, 3))

    for seed in range(6):
        torch.manual_seed(seed)
        assert mass.certify(mass.convert(Normed().eval(), X), X, shifts=4)


def test_gradients_are_compared_beside_integer_parameters():
    """They have none, and hide nobody's."""
    model = Network(frozen).train()
    model.steps = nn.Parameter(torch.zeros(1, dtype=torch.long), requires_grad=False)
    with pytest.raises(mass.NotEquivariantError, match="the gradient of 'a.weight' is another"):
        mass.convert(model, X)


def test_gradients_are_compared_where_the_number_of_images_is_the_examples():
    class Separately(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x):
            return torch.stack(list(self.conv(x).unbind(0))).mean((2, 3))

    assert mass.convert(Separately().train(), X).mass_evaluation_only == ""


def test_a_part_that_leaves_autocast_is_not_run_under_it():
    class Precise(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x):
            y = self.a(x)
            with torch.autocast("cpu", enabled=False):
                return self.b(y.float()).mean((2, 3))

    for network in (mass.convert(Precise().eval(), X), copy.deepcopy(mass.convert(Precise().eval(), X))):
        assert mass.certify(network, X, shifts=4)
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            pytest.raises(mass.NotEquivariantError, match="turns autocast off for a part of it"),
        ):
            network(X)


def test_what_asks_whether_autocast_is_on_is_not_run_under_it():
    class Asks(nn.Module):
        def __init__(self, *device):
            super().__init__()
            self.conv, self.device = nn.Conv2d(3, 4, 3, 2, 1), device

        def forward(self, x):
            y = self.conv(x)
            return (y * 2 if torch.is_autocast_enabled(*self.device) else y).mean((2, 3))

    network, of_cuda = (mass.convert(Asks(*device).eval(), X) for device in (("cpu",), ()))
    assert mass.certify(network, X, shifts=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert of_cuda(X).dtype == torch.bfloat16
        with pytest.raises(mass.NotEquivariantError, match="asks whether it is on.*autocast is on for cpu"):
            network(X)
