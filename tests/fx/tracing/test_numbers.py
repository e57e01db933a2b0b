"""Numbers that a model computes from sizes, and options that are no numbers: followed, guarded or refused, never frozen unseen."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A function of the network and a map, behind a convolution that wraps by itself: the conversion is the model."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
        self.exponent = nn.Parameter(torch.linspace(0.5, 4, 8).view(8, 1, 1))
        self.register_buffer("number", torch.tensor(0.7))
        self.function = function

    def forward(self, x):
        return self.function(self, self.conv(x))


OF_THE_BATCH = {
    "alpha": lambda net, y: torch.add(y, y.relu(), alpha=1 / y.shape[0]),
    "alpha in place": lambda net, y: (y * 1.0).sub_(y.relu(), alpha=y.shape[0]),
    "eps": lambda net, y: F.normalize(y, eps=0.1 * y.shape[0]),
    "local response": lambda net, y: F.local_response_norm(y, 3, alpha=1 / y.shape[0]),
    "order of a norm": lambda net, y: y.norm(y.shape[0], dim=1),
}


@pytest.mark.parametrize("name", OF_THE_BATCH)
def test_what_follows_from_the_batch_is_no_constant(name):
    model = Of(OF_THE_BATCH[name]).eval()
    network = mass.convert(model, X)
    assert torch.allclose(network(X), model(X), atol=1e-5)
    for images in (X[:1], torch.cat((X, X))):
        with pytest.raises(ValueError, match="the model would decide otherwise for this input"):
            network(images)


def test_dynamic_convolution_of_one_image_is_no_convolution_of_two():
    class Dynamic(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.Linear(3, 4 * 3 * 9)

        def forward(self, x):
            batch, channels, height, width = x.shape
            kernels = self.weights(x.mean((2, 3))).view(batch * 4, channels, 3, 3)
            y = F.conv2d(x.reshape(1, batch * channels, height, width), kernels, padding=1, groups=batch)
            return y.view(batch, 4, height, width)

    network = mass.convert(Dynamic().eval(), X[:1])
    network(X[:1])
    with pytest.raises((ValueError, RuntimeError)):
        network(X)


POWERS = {
    "pow": lambda net, y: y.abs().clamp(min=1e-3).pow(net.exponent).mean((2, 3)),
    "float_power": lambda net, y: y.abs().clamp(min=1e-3).float_power(net.exponent).mean((2, 3)).float(),
    "of each image": lambda net, y: (y.abs() + 0.1).pow(y.mean((2, 3), keepdim=True) + 1).mean((2, 3)),
    "base": lambda net, y: torch.pow(net.exponent, y).mean((2, 3)),
    "base by name": lambda net, y: torch.pow(self=2.0, exponent=y).mean((2, 3)),
}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", POWERS)
def test_an_exponent_for_each_channel(name, memory_format):
    model = Of(POWERS[name]).eval()
    network = mass.convert(model, X).to(memory_format=memory_format)
    for x in (X, torch.randn(3, 3, 7, 9)):
        x = x.contiguous(memory_format=memory_format)
        assert torch.allclose(network(x), model(x), atol=1e-4, rtol=1e-4)
        assert torch.equal(network(x), network(x.roll((2, 5), (2, 3))))


WHOLE = {
    "by its maximum": lambda net, y: y / y.max(),
    "to its range": lambda net, y: (y - y.min()) / (y.max() - y.min()),
    "of a buffer": lambda net, y: F.elu(y, net.number),
    "of a size": lambda net, y: F.elu(y, 1 / y.shape[1]),
    "clipped by a size": lambda net, y: torch.logit(y.sigmoid(), eps=1 / y.shape[3]),
    "alpha of a buffer": lambda net, y: torch.add(y, y.relu(), alpha=net.number),
    "norm of an axis": lambda net, y: torch.norm(y, 1, 1, True),
    "where by names": lambda net, y: torch.where(condition=y > 0, input=y, other=net.exponent),
    "how many": lambda net, y: torch.linalg.vector_norm(y.relu(), 0, dim=1),
}


@pytest.mark.parametrize("name", WHOLE)
def test_options_that_are_no_numbers(name):
    model = Of(WHOLE[name]).eval()
    network = mass.convert(model, X)
    assert torch.allclose(network(X), model(X), atol=1e-5) and mass.certify(network, X, 8)


@pytest.mark.parametrize(
    "function",
    [
        lambda net, y: y.masked_fill(y < 0, torch.finfo(y.dtype).min).clamp(min=-9),
        lambda net, y: y + torch.finfo(y.dtype).eps,
        lambda net, y: y.clamp(min=torch.finfo(y.dtype).tiny),
    ],
    ids=["smallest", "step", "tiny"],
)
def test_the_limits_of_a_dtype_are_those_of_the_map_that_is_there(function):
    """As attention masks have them; in another dtype, and in a copy, they are that one's."""
    model = Of(function).eval()
    network = mass.convert(model, X)
    assert torch.allclose(network(X), model(X), atol=1e-5) and mass.certify(network, X, 8)
    precise = copy.deepcopy(network).double()
    assert torch.allclose(precise(X.double()), copy.deepcopy(model).double()(X.double()), atol=1e-12)


def test_spectral_norm_iterates_as_often_as_in_the_model():
    def discriminator():
        torch.manual_seed(0)
        sn = nn.utils.parametrizations.spectral_norm
        convs = nn.Conv2d(3, 16, 3, padding=1, padding_mode="circular"), nn.Conv2d(16, 16, 1)
        return nn.Sequential(sn(convs[0]), nn.LeakyReLU(0.2), sn(convs[1])).train()

    model, network = discriminator(), mass.convert(discriminator(), X)
    with torch.no_grad():
        for net in (model, network):
            net[0].parametrizations.weight.original.add_(1.0)
    for _ in range(3):
        assert torch.allclose(model(X), network(X), atol=1e-5)
    for one, other in zip(model.buffers(), network.buffers(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
