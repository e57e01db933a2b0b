"""A converted network's derivatives by torch.func and by dual numbers are those of `backward()`, of every kind of network."""

import pytest
import torch
import torch.autograd.forward_ad as dual
import torchvision
from torch import nn
from torch.func import functional_call, grad, jvp, vmap

import mass

SYMMETRIC = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 2, 2)
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def classifier():
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.MaxPool2d(2)),
        *(nn.GroupNorm(2, 8), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def decoder():
    return nn.Sequential(
        *(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.GELU(),
            nn.ConvTranspose2d(8, 4, 4, 2, 1),
            nn.AvgPool2d(2),
            nn.Upsample(scale_factor=2),
        ),
    )


def hooked():
    network = mass.convert(classifier().eval(), IMAGES)
    network.register_forward_hook(lambda module, given, logits: 2 * logits)
    return network


NETWORKS = {
    "classifier": (lambda: mass.convert(classifier().eval(), IMAGES), IMAGES),
    "decoder": (lambda: mass.convert(decoder().eval(), IMAGES), IMAGES),
    "symmetrised": (lambda: mass.convert(decoder().eval(), IMAGES, symmetrise=True), SYMMETRIC),
    "ResNet-18": (lambda: mass.convert(torchvision.models.resnet18(num_classes=5).eval(), IMAGES), IMAGES),
    "with a hook": (hooked, IMAGES),
}


@pytest.fixture(params=[(name, dtype) for name in NETWORKS for dtype in (torch.float32, torch.float64)], ids=str)
def case(request):
    """A network, images, and how near is near enough."""
    name, dtype = request.param
    torch.manual_seed(0)
    make, images = NETWORKS[name]
    tolerances = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    return make().to(dtype), images.to(dtype), tolerances


def loss_of(network, images):
    return lambda given: functional_call(network, given, (images,)).square().sum()


def test_gradients(case):
    """Of the parameters: those of a batch, and those of every image in it (Goodfellow, 2015, arXiv 1510.01799)."""
    network, images, tolerances = case
    given = dict(network.named_parameters())
    expected = [torch.autograd.grad(loss_of(network, x[None])(given), list(given.values())) for x in images]
    of_batch = grad(loss_of(network, images))(given)
    of_each = vmap(lambda given, x: grad(loss_of(network, x[None]))(given), (None, 0))(given, images)
    for k, name in enumerate(given):
        rows = torch.stack([gradients[k] for gradients in expected])
        assert torch.allclose(of_each[name], rows, **tolerances), name
        assert torch.allclose(of_batch[name], rows.sum(0), **tolerances), name


def test_forward_mode(case):
    """<w, J v> = <J^T w, v>, by torch.func.jvp and by dual numbers."""
    network, images, tolerances = case
    v, leaf = torch.randn_like(images), images.clone().requires_grad_()
    output = network(leaf)
    w = torch.randn_like(output)
    (transposed,) = torch.autograd.grad(output, leaf, w)
    with dual.dual_level():
        by_dual = dual.unpack_dual(network(dual.make_dual(images, v)))
    for value, tangent in (jvp(network, (images,), (v,)), by_dual):
        assert torch.allclose(value, output, **tolerances)
        assert torch.allclose((w * tangent).sum(), (transposed * v).sum(), **tolerances)


def test_they_move_with_the_image(case):
    """The gradient of an invariant loss by the image is shift-equivariant (sums of a backward pass round)."""
    network, images, tolerances = case

    def gradient(x):
        return grad(lambda x: network(x).square().sum())(x)

    moved = gradient(images.roll((5, 3), (2, 3)))
    assert torch.allclose(moved, gradient(images).roll((5, 3), (2, 3)), **tolerances)
