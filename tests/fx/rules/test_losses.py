"""Labels move with their image: a network that returns its loss gives the same bits wherever both lie."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass
from mass.functional.kernels import elementwise

X = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(2))
LABELS = torch.randint(0, 5, (2, 24, 32), generator=torch.Generator().manual_seed(3))
T = (5, 14)
WEIGHT = torch.tensor([1.0, 0.3, 2.0, 0.7, 1.1])


class Segmentation(nn.Module):
    """As those of transformers: logits at the labels' size, and a loss if there are labels."""

    def __init__(self, loss):
        super().__init__()
        self.down, self.out, self.function = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 5, 3, 2, 1), loss
        self.loss = loss if isinstance(loss, nn.Module) else None
        self.register_buffer("weight", WEIGHT)

    def forward(self, x, labels=None):
        y = F.interpolate(self.out(self.down(x).relu()), size=x.shape[2:], mode="bilinear")
        if labels is None:
            return y
        return {"loss": self.function(y, labels) if self.loss is not None else self.function(self, y, labels), "logits": y}  # fmt: skip


def one_hot(labels, y):
    return F.one_hot(labels, 5).movedim(-1, 1).to(y.dtype)


LOSSES = {
    "made in forward": lambda net, y, labels: nn.CrossEntropyLoss(ignore_index=3)(y, labels),
    "module": nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=1, label_smoothing=0.1),
    "negative likelihood": nn.NLLLoss(),
    "function": lambda net, y, labels: F.cross_entropy(y, labels),
    "weights": lambda net, y, labels: F.cross_entropy(y, labels, net.weight, ignore_index=2),
    "smoothed": lambda net, y, labels: F.cross_entropy(y, labels, label_smoothing=0.2, reduction="sum"),
    "each, then a mean": lambda net, y, labels: F.cross_entropy(y, labels, reduction="none").mean(),
    "per image": lambda net, y, labels: F.cross_entropy(y, labels, reduction="none").mean((1, 2)),
    "without what is unknown": lambda net, y, labels: (F.cross_entropy(y, labels, reduction="none") * (labels != 4)).sum()
    / (labels != 4).sum(),
    "probabilities": lambda net, y, labels: F.cross_entropy(y, one_hot(labels, y) * 0.8 + 0.04),
    "logarithms": lambda net, y, labels: F.nll_loss(F.log_softmax(y, 1), labels, net.weight),
    "binary": lambda net, y, labels: F.binary_cross_entropy_with_logits(y, one_hot(labels, y)),
    "binary, weights": lambda net, y, labels: F.binary_cross_entropy_with_logits(
        y, one_hot(labels, y), pos_weight=net.weight[:, None, None]
    ),
    "binary probabilities": lambda net, y, labels: F.binary_cross_entropy(y[:, 0].sigmoid(), (labels > 2).to(y.dtype)),
    "squares": lambda net, y, labels: F.mse_loss(y[:, 0], labels.to(y.dtype)),
    "huber": lambda net, y, labels: F.huber_loss(y[:, 0], labels.to(y.dtype), delta=0.7),
    "smooth l1": lambda net, y, labels: nn.SmoothL1Loss(beta=0.5)(y[:, 1], labels.to(y.dtype)),
    "dice": lambda net, y, labels: 1 - 2 * (y.softmax(1) * one_hot(labels, y)).sum((0, 2, 3)) / (y.softmax(1) + 1).sum((0, 2, 3)),
    "with an axis of channels": lambda net, y, labels: (F.mse_loss(y[:, 2:3], labels[:, None].to(y.dtype), reduction="none") * (labels > 1)[:, None]).mean(),
    "an axis in front of the last ones": lambda net, y, labels: (y[:, 0] - labels[..., None, :, :][:, 0]).square().sum(),
    "errors": lambda net, y, labels: (y.argmax(1) != labels).sum((1, 2)),
    "absolute": lambda net, y, labels: (y.argmax(1) - labels).abs().float().mean(),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses_stay_when_labels_move(name):
    model, inputs = Segmentation(copy.deepcopy(LOSSES[name])).eval(), {"x": X, "labels": LABELS}
    converted = mass.convert(model, inputs)
    assert list(converted.state_dict()) == list(model.state_dict())
    certificate = mass.certify(converted, inputs)  # all residues
    assert certificate.outcome is mass.Outcome.CERTIFIED, certificate
    assert not any(output.from_whole_map for output in certificate.outputs)
    alone = mass.convert(model, X)
    assert torch.equal(alone(X), converted(**inputs)["logits"])
    zero, twice = mass.convert(model, inputs, origin="zero")(**inputs)["loss"], model.double()
    wrapped = mass.convert(twice, {"x": X.double(), "labels": LABELS}, origin="zero", verify=False)
    assert torch.allclose(zero.double(), wrapped(x=X.double(), labels=LABELS)["loss"].double(), rtol=1e-5)


@pytest.mark.parametrize("name", ["module", "weights", "binary, weights", "huber", "dice", "probabilities"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_in_other_precisions(name, dtype):
    model = Segmentation(copy.deepcopy(LOSSES[name])).eval()
    converted = mass.convert(model, {"x": X, "labels": LABELS}).to(dtype)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        expected = converted(x=X.to(dtype), labels=LABELS)["loss"]
        assert torch.equal(converted(x=X.to(dtype).roll(T, (2, 3)), labels=LABELS.roll(T, (1, 2)))["loss"], expected)


class Same(nn.Module):
    """A convolution whose border wraps, so that with origins at zero the loss is the plain network's."""

    def __init__(self, loss):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 5, 3, 1, 1, padding_mode="circular"), loss
        self.loss = loss if isinstance(loss, nn.Module) else None
        self.register_buffer("weight", WEIGHT)

    def forward(self, x, labels):
        y = self.conv(x)
        return self.function(y, labels) if self.loss is not None else self.function(self, y, labels)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_the_plain_network_s(name):
    model = Same(copy.deepcopy(LOSSES[name])).double()
    x = X.double()
    converted = mass.convert(model, (x, LABELS))
    expected, found = model(x, LABELS), converted(x, LABELS)
    assert found.dtype == expected.dtype and torch.allclose(found, expected, rtol=1e-9)
    if expected.requires_grad:
        expected.sum().backward()
        found.sum().backward()
        assert torch.allclose(converted.conv.weight.grad, model.conv.weight.grad, rtol=1e-8, atol=1e-12)


def test_all_ignored_is_no_number():
    model = Same(LOSSES["function"])
    assert mass.convert(model, (X, LABELS))(X, torch.full_like(LABELS, -100)).isnan()


def test_labels_of_signals():
    class Audio(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv1d(1, 4, 4, 2, 1), nn.ConvTranspose1d(4, 5, 4, 2, 1)

        def forward(self, x, labels):
            return F.cross_entropy(self.up(self.down(x).relu()), labels)

    x, labels = torch.randn(2, 1, 64), torch.randint(5, (2, 64))
    converted = mass.convert(Audio().eval(), (x, labels))
    for t in (1, 7, 32):
        assert torch.equal(converted(x.roll(t, 2), labels.roll(t, 1)), converted(x, labels))


class Wrong(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 5, 3, 4, 1), function

    def forward(self, x, labels):
        return self.function(self.conv(x), labels)


@pytest.mark.parametrize(
    ("function", "labels", "message"),
    [
        (F.cross_entropy, LABELS[:, ::4, ::4], r"node 'labels': it looks like labels of \(6, 8\) for images of \(24, 32\)"),
        (lambda y, l: F.cross_entropy(y, l[:, ::4, ::4]), LABELS, "cross_entropy|origin|frame|move"),
        (lambda y, l: F.cross_entropy(y, l[:, ::4, ::4], size_average=True), LABELS, "size_average and reduce"),
    ],
)  # fmt: skip
def test_what_cannot_move_along_is_refused_or_exact(function, labels, message):
    model = Wrong(function).eval()
    try:
        converted = mass.convert(model, (X, labels))
    except mass.NotEquivariantError as refusal:
        assert str(refusal).endswith(".")
        assert re.search(message, str(refusal)), str(refusal)
    else:
        assert labels is LABELS and mass.certify(converted, (X, labels), 6)


@pytest.mark.parametrize("threads", [1, 3])
def test_values_beside_each_other_are_computed_by_whole_vectors(threads):
    torch.set_num_threads(threads)
    x, y = torch.randn(1, 3, 37, 51), torch.rand(1, 3, 37, 51)

    def loss(a, b):
        return F.binary_cross_entropy_with_logits(a, b, reduction="none")

    moved = elementwise(loss, x.roll(T, (2, 3)), y.roll(T, (2, 3)))
    assert torch.equal(moved, elementwise(loss, x, y).roll(T, (2, 3)))
    assert torch.allclose(elementwise(loss, x, y), loss(x, y))


class Conditioned(nn.Module):
    """A mask or a layout without an axis of channels beside the image, that predictions are computed from."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(4, 6, 3, 2, 1), nn.ConvTranspose2d(6, 2, 4, 2, 1)

    def forward(self, x, mask):
        return self.up(self.down(torch.cat((x, mask[:, None].to(x.dtype)), 1)).relu())


@pytest.mark.parametrize("mask", [LABELS, LABELS > 2, torch.rand(2, 24, 32)])
def test_what_predictions_are_computed_from_settles_ties(mask):
    """A black image ties everywhere; what lies beside it does not, and is asked."""
    converted = mass.convert(Conditioned().eval(), (X, mask))
    for x in (X, torch.zeros_like(X)):
        assert mass.certify(converted, (x, mask)).outcome is mass.Outcome.CERTIFIED
