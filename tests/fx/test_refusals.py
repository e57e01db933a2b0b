"""What cannot be converted is refused in a sentence that names the node, the reason and what would do."""

import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import mass
from companion.models.random_weights import calibrated

X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet():
    return calibrated("resnet18")


class Training(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) if self.training else x.amax((2, 3))


class Call(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f, self.conv = f, nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.f(self.conv(x))


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (torchvision.models.resnet18(), torch.randn(1, 3, 100, 64), mass.NotEquivariantError,
         "node 'layer2.0.conv1': the map has height 25 there.*total stride is 32 and the input's height 100: 96 or 128 would do"),
        (Training(), X, mass.NotEquivariantError, "in training the model computes something else"),
        (torchvision.models.vgg11(), X, mass.NotEquivariantError, "node 'avgpool': adaptive pooling of .* windows of unequal size"),
        (Call(lambda x: F.interpolate(x, scale_factor=1.5)), X, mass.NotEquivariantError, "not by an integer factor"),
        (Call(lambda x: torch.cat((x, x), 2)), X, mass.NotEquivariantError, "'cat' along axis 2, which is no axis of channels"),
        (Call(lambda x: x @ x.transpose(2, 3)), X, mass.NotEquivariantError, "matmul is not known to commute"),
        (Call(lambda x: torch.cat((x, x))), X, mass.NotEquivariantError, "'cat' along axis 0, which is no axis of channels"),
        (Call(lambda x: x[:1]), X, mass.NotEquivariantError, "picking images out of the batch"),
        (Call(lambda x: F.max_pool2d(x.view(6, 1, 64, 96), 2)), X, mass.NotEquivariantError, "positions that were flattened leave the network"),
        (Call(lambda x: x.view(2, 3, 32, 2, 48, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 12, 32, 48)), X, mass.NotEquivariantError,
         r"leave the network as axes of .*; bring them back .* blocks of pixels channels, call F\.pixel_unshuffle"),
        (nn.Sequential(nn.MaxPool2d(2, return_indices=True)), X, mass.NotEquivariantError, "returns indices"),
        (nn.Conv2d(3, 4, 3), torch.randn(3, 64, 64), ValueError, "add the batch axis"),
        (nn.Conv2d(3, 4, 3), torch.ones(1, 3, 64, 64).long(), TypeError, "torch.int64"),
        (nn.Conv2d(3, 4, 3), torch.randn(0, 3, 64, 64), ValueError, "the map is empty"),
        (nn.Conv2d(3, 4, 3), torch.randn(1, 4, 64, 64), mass.NotEquivariantError, "does not run on the example input"),
        (lambda x: x, X, TypeError, "expected a torch.nn.Module, got function"),
    ],
)  # fmt: skip
def test_refusals(model, x, error, message):
    with pytest.raises(error, match=message):
        mass.convert(model, x)


def test_refusals_are_pickled_and_have_parts(resnet):
    try:
        mass.convert(resnet, torch.randn(1, 3, 100, 64))
    except mass.NotEquivariantError as refusal:
        again = pickle.loads(pickle.dumps(refusal))
        assert (again.node, str(again)) == ("layer2.0.conv1", str(refusal)) and again.remedy
    with pytest.raises(ValueError, match="unknown origin rule 'best'"):
        mass.convert(resnet, X, origin="best")
