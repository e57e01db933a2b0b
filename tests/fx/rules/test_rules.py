"""Rules: one place an operation, and nothing changes while they are asked."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import mass
from mass.fx.infer import infer
from mass.fx.rule import Effect, rule
from mass.fx.tracing.trace import trace

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Up(nn.Module):
    """A transposed convolution, of its own or of computed weights, behind a strided one."""

    def __init__(self, computed):
        super().__init__()
        self.computed = computed
        self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2, dilation=1)

    def forward(self, x):
        x = self.down(x)
        return F.conv_transpose2d(x, self.up.weight * 1, self.up.bias, 2, 1, 0, 2) if self.computed else self.up(x)


def test_computed_weights_are_no_map():
    layer, function = Up(False).eval(), Up(True).eval()
    function.load_state_dict(layer.state_dict())
    converted = mass.convert(function, X)
    assert torch.equal(converted(X), mass.convert(layer, X)(X))
    assert mass.certify(converted, X).identical.all()


def test_padding_before_what_is_no_window_has_the_whole_map_as_period():
    model = nn.Sequential(nn.ZeroPad2d(1), nn.LPPool2d(2, 2, 2), nn.Flatten()).eval()
    assert mass.certify(mass.convert(model, X), X, 8).identical.all()


class ActivationNorm(nn.BatchNorm2d):
    """As timm's: a leaf, with an activation inside."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.SiLU()

    def forward(self, input):
        return self.act(super().forward(input))


def state(model):
    """What every module is, by name: its class, its attributes, its children."""
    return {
        name: (type(module), sorted(vars(module)), [id(child) for child in module.children()])
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121", "norm", "called twice", "up"])
def test_inference_changes_no_module(name):
    conv = nn.Conv2d(3, 3, 3, 2, 1)
    model = {
        "norm": nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), ActivationNorm(4), nn.GroupNorm(2, 4), nn.MaxPool2d(2)),
        "called twice": nn.Sequential(conv, nn.ZeroPad2d(0), conv),
        "up": Up(False),
    }.get(name) or torchvision.models.get_model(name, weights=None)
    traced = trace(model.eval(), X)
    before, graph = state(traced), str(traced.graph)
    assert not infer(traced).refusals
    assert state(traced) == before and str(traced.graph) == graph


def test_the_activation_inside_a_norm_rounds_alike_everywhere():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, 1, 1), ActivationNorm(5), nn.AdaptiveAvgPool2d(1)).eval()
    assert "Elementwise" in repr(mass.convert(model, X))
    assert mass.certify(mass.convert(model, X), X[..., :27], 8).identical.all()


def test_a_convolution_has_one_border():
    """Called with other paddings before it, it would need two."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3, 2, 1)

        def forward(self, x):
            return self.out(self.conv(F.pad(self.conv(F.pad(x, (1, 1, 1, 1))), (2, 0, 2, 0)))).mean((2, 3))

    with pytest.raises(mass.NotEquivariantError, match=r"called with another padding before it, \(1, 1\), elsewhere"):
        mass.convert(Net(), X)


def test_an_operation_has_one_rule():
    with pytest.raises(ValueError, match="conv2d has a rule already"):
        rule(functions=["conv2d"])(lambda site: Effect(site.map))


@pytest.mark.parametrize("pool", [F.avg_pool2d, F.max_pool2d])
def test_a_window_of_the_maps_size_follows_it(pool):
    """BAM, older DenseNets: of maps that are not square the model makes several positions, or none."""
    torch.manual_seed(0)

    class Square(nn.Module):
        def forward(self, y):
            return pool(y, y.size(2)).flatten(1)

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), Square()).eval()
    network = mass.convert(model, torch.rand(2, 3, 16, 16))
    for size in (32, 48):
        x = torch.rand(2, 3, size, size)
        assert network(x).shape == model(x).shape and mass.certify(network, x, shifts=4)
    for shape in ((32, 16), (16, 32)):
        with pytest.raises(ValueError, match=r"a window of \(\d+, \d+\) is the whole map for the example"):
            network(torch.rand(2, 3, *shape))
