"""What a converted network refuses, and the order of its arguments, holds wherever it runs: alone, as a part, compiled, exported, retraced."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mass

X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
Y = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Holder(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *args):
        return self.net(*args)


def compiled_in(net):
    torch.compiler.reset()
    return torch.compile(Holder(net), backend="eager")


def exported(net):
    return lambda *args: torch.export.export(net, args).module()(*args)


WAYS = {
    "alone": lambda net: net,
    "forward": lambda net: net.forward,
    "a part": Holder,
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "a part of what is compiled": compiled_in,
    "exported": exported,
    "retraced": lambda net: lambda *args: torch.fx.symbolic_trace(net)(*args),
}
RUNNING_FORWARD = [way for way in WAYS if way not in ("exported", "retraced")]  # these two run the graph


@pytest.fixture(params=list(WAYS))
def way(request):
    torch.compiler.reset()
    return WAYS[request.param]


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, left, right):
        return (self.a(left) - 2 * self.b(right)).mean((2, 3))


def test_arguments_are_in_the_models_order(way):
    """The example names them in another one."""
    net = mass.convert(Pair().eval(), {"right": Y, "left": X})
    assert torch.equal(way(net)(X, Y), net(left=X, right=Y)) and not torch.allclose(net(X, Y), net(Y, X))


def test_one_size_is_one_size(way):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(64, 2))
    net = mass.convert(model.eval(), X[..., :8, :8])
    with pytest.raises(ValueError, match="holds for inputs of 8 x 8 alone"):
        way(net)(X)
    assert way(net)(X[..., 8:, 8:]).shape == (2, 2)


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(1, 4, 3, 2, 1)

    def forward(self, x, mask=None, depth=None):
        y = self.a(x)
        if mask is not None:
            y = y * F.avg_pool2d(mask, 2)
        if depth is not None:
            y = y + self.b(depth)
        return y.mean((2, 3))


@pytest.mark.parametrize("name", RUNNING_FORWARD)
def test_a_mask_is_not_taken_for_the_depth(name):
    torch.compiler.reset()
    net = mass.convert(Optional().eval(), {"x": X, "depth": X[:, :1]})
    with pytest.raises(TypeError, match="mask is None in this converted network"):
        WAYS[name](net)(X, X[:, :1])
    assert torch.equal(WAYS[name](net)(X, None, X[:, :1]), net(X, depth=X[:, :1]))


class Leaving(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 3)

    def forward(self, x):
        y = self.conv(x).mean((2, 3))
        with torch.autocast("cpu", enabled=False):
            return self.linear(y.float())


@pytest.mark.parametrize("name", RUNNING_FORWARD)
def test_what_leaves_autocast_is_not_run_in_it(name):
    torch.compiler.reset()
    net = mass.convert(Leaving().eval(), X)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(mass.NotEquivariantError, match="turns autocast off"):
        WAYS[name](net)(X)


class Between(nn.Module):
    """An option between two inputs, which the example gives in another order."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x, factor=2, other=None):
        return factor * (self.conv(x) - self.conv(other).abs()).mean((2, 3))


def test_an_order_that_python_does_not_allow_is_not_mixed_up():
    net = mass.convert(Between().eval(), {"x": X, "other": Y, "factor": 2})
    assert torch.equal(net(X, 2, Y), net(X, other=Y)) and torch.equal(compiled_in(net)(X, 2, Y), net(X, other=Y))
    for run in (lambda: torch.export.export(net, (X, 2, Y)), lambda: torch.fx.symbolic_trace(net)):
        with pytest.raises(
            mass.NotEquivariantError, match="the example names x, other, factor and the model takes x, factor"
        ):
            run()


class Low(nn.Module):
    """A convolution and a correction of it, as LoRA has it."""

    def __init__(self, conv):
        super().__init__()
        self.conv, self.low = conv, nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)

    def forward(self, x):
        return self.conv(x) + self.low(x)


def deep():
    body = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), body, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.mark.parametrize("name", [name for name in WAYS if name != "retraced"])
def test_modules_stay_where_they_are(name):
    torch.compiler.reset()
    net = mass.convert(deep(), X)
    before = WAYS[name](net)
    before(X)
    net[1][1] = Low(net[1][1]).eval()
    for run in (before, WAYS[name](net)):
        with pytest.raises(mass.NotEquivariantError, match="'1.1' cannot become Low"):
            run(X)


def test_onnx_refuses_what_the_network_refuses():
    net = mass.convert(deep(), X)
    net[1][1] = Low(net[1][1]).eval()
    with pytest.raises(mass.NotEquivariantError, match="'1.1' cannot become Low"):
        mass.onnx.export(net, X)


def test_an_export_loses_no_hooks_and_no_blend():
    net = mass.convert(deep(), X)
    with (
        net[1].register_forward_hook(lambda module, args, y: 2 * y),
        pytest.raises(mass.NotEquivariantError, match="hooks on '1' would not be in an export"),
    ):
        torch.export.export(net, (X,))
    with pytest.raises(mass.NotEquivariantError, match="as many rows as an image has near ties"):
        torch.export.export(mass.convert(deep(), X, blend=0.05), (X,))


class Part(nn.Module):
    """Computes otherwise in training."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        bn = self.bn
        return F.batch_norm(self.conv(x), bn.running_mean, bn.running_var, bn.weight, bn.bias, self.training, 0.1)


@pytest.mark.parametrize("name", [name for name in WAYS if name != "retraced"])
def test_no_part_trains_in_a_network_for_evaluation(name):
    torch.compiler.reset()
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Part(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    net = mass.convert(model, X)
    run = WAYS[name](net)
    run(X)
    net[1].train()
    with pytest.raises(mass.NotEquivariantError, match="'1' is in training mode, and the network was converted for"):
        run(X)
    net.eval()
    run(X)
