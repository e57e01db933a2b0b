"""What hostile readers found to be silently wrong: each converts to the same function, or is refused with a sentence."""

import collections
import copy
import dataclasses
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2

import mass

X = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(4))
T = (5, 14)


def conv(i, o, k=3, s=1):
    """A convolution whose border wraps already."""
    return nn.Conv2d(i, o, k, s, k // 2, padding_mode="circular")


class Net(nn.Module):
    """Two circular convolutions around a function of the user's."""

    def __init__(self, function):
        super().__init__()
        self.function, self.first, self.second = function, conv(3, 6), conv(6, 6)
        self.gate, self.drop = conv(2, 1), nn.Dropout(0.5)

    def forward(self, x):
        return self.function(self, self.first(x))


Masks = collections.namedtuple("Masks", ["score", "mask"])


@dataclasses.dataclass
class Result:
    score: torch.Tensor
    mask: torch.Tensor


def masks(net, y):
    return Masks(y.mean((2, 3)), y.argmax(1))


def result(net, y):
    return Result(y.mean((2, 3)), y.argmax(1))


def in_a_dict(net, y):
    return {"score": y.mean((2, 3)), "masks": [y.argmax(1)]}


def in_tuples(net, y):
    return y.mean((2, 3)), (y.argmax(1),)


def moves(model, *axes):
    """Converted, its output (a tensor) moves along these axes with the image, to the bit."""
    converted = mass.convert(model.eval(), X)
    expected, moved = converted(X), converted(X.roll(T, (2, 3)))
    assert torch.equal(moved, expected.roll(T, axes)) and not torch.equal(moved, expected)
    zero = mass.convert(model, X, origin="zero")(X)
    assert zero.dtype == model(X).dtype and torch.allclose(zero.double(), model(X).double(), atol=1e-4)


MAPS = {
    "argmax": lambda net, y: y.argmax(1),
    "max": lambda net, y: y.max(1)[0],
    "where the max is": lambda net, y: y.max(1)[1],
    "logsumexp": lambda net, y: y.logsumexp(1),
    "norm": lambda net, y: y.norm(dim=1),
    "standard deviation": lambda net, y: y.std(1),
    "long": lambda net, y: (10 * y).argmax(1).long(),
    "mask": lambda net, y: y[:, 0] > 0,
    "sum of a mask": lambda net, y: (y > 0).sum(1),
    "amax": lambda net, y: y.amax(1),
}


@pytest.mark.parametrize("name", MAPS)
def test_reductions_of_channels_are_maps(name):
    moves(Net(MAPS[name]), 1, 2)


@pytest.mark.parametrize(
    ("function", "axes"),
    [
        (lambda net, y: y.topk(2, 1)[0], (2, 3)),
        (lambda net, y: y.sort(1)[0], (2, 3)),
        (lambda net, y: y.cumsum(1), (2, 3)),
        (lambda net, y: y.max(1, keepdim=True)[0], (2, 3)),
        (lambda net, y: F.one_hot(y.argmax(1), 6).float(), (1, 2)),
        (lambda net, y: y.permute(0, 2, 3, 1).softmax(3), (1, 2)),
        (lambda net, y: F.normalize(y), (2, 3)),
        (lambda net, y: y.movedim(1, 3).movedim(3, 1) * 2, (2, 3)),
        (lambda net, y: (y > 0).type_as(y) * y, (2, 3)),
        (lambda net, y: y * net.gate(torch.stack([y.max(1)[0], y.mean(1)], 1)).sigmoid(), (2, 3)),
        (lambda net, y: 2.0 ** y.clamp(max=3), (2, 3)),
        (lambda net, y: y.softmax(1, dtype=torch.float64), (2, 3)),
        (lambda net, y: y.view(len(y), *y.shape[1:]), (2, 3)),
        (lambda net, y: y * 2 if isinstance(y, torch.Tensor) else y, (2, 3)),
        (lambda net, y: y * 2 if torch.is_tensor(y) else y, (2, 3)),
        (lambda net, y: y * 2 if y.dtype != torch.int64 and y.device == net.first.weight.device else y, (2, 3)),
        (lambda net, y: y * int(y.shape[1] * 0.5) + sum(range(y.shape[1])), (2, 3)),
        (lambda net, y: torch.pow(y, 2.0) + torch.where(y > 0, y, 1.0), (2, 3)),
        (lambda net, y: torch.remainder(y, 2.0) + torch.clamp(y, 0, 3.0), (2, 3)),
        (lambda net, y: torch.stack([part * k for k, part in enumerate(y.unbind(1))], 1), (2, 3)),
    ],
)
def test_what_keeps_positions_moves_along(function, axes):
    moves(Net(function), *axes)


@pytest.mark.parametrize("function", [masks, result, in_a_dict, in_tuples])
def test_masks_in_structures_move_along(function):
    model = Net(function).eval()
    converted = mass.convert(model, X)
    for made in (converted, copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        expected, moved = made(X), made(X.roll(T, (2, 3)))
        assert type(expected) is type(model(X)) and type(moved) is type(expected)
        (score, mask), (moved_score, moved_mask) = map(_two, (expected, moved))
        assert torch.equal(score, moved_score) and torch.equal(moved_mask, mask.roll(T, (1, 2)))


def _two(value):
    parts = (
        list(value.values())
        if isinstance(value, dict)
        else list(value)
        if isinstance(value, tuple)
        else [value.score, value.mask]
    )
    return parts[0], parts[1][0] if isinstance(parts[1], tuple | list) else parts[1]


def test_preprocessing_is_part_of_the_model():
    model = nn.Sequential(
        v2.Normalize([0.5] * 3, [0.2] * 3), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    converted = mass.convert(model, X)
    assert torch.allclose(converted(X), model(X), atol=1e-5)
    assert mass.certify(converted, X, 4)


COUNTS = {
    "mask": lambda net, y: (y > 0).sum((2, 3)),
    "bytes": lambda net, y: (y > 0).to(torch.uint8).sum((2, 3)),
    "wide": lambda net, y: y.sum((2, 3), dtype=torch.float64),
}


@pytest.mark.parametrize("name", COUNTS)
def test_sums_count(name):
    model = Net(COUNTS[name]).eval()
    converted = mass.convert(model, X)
    assert converted(X).dtype == model(X).dtype and torch.allclose(converted(X).double(), model(X).double(), atol=1e-2)
    assert torch.equal(converted(X.roll(T, (2, 3))), converted(X))


@pytest.mark.parametrize(
    ("function", "drops", "drops_in_training"),
    [
        (lambda net, y: F.dropout(y, 0.5, training=net.training), False, True),
        (lambda net, y: F.dropout(y, 0.5, False), False, False),
        (lambda net, y: F.dropout(y, 0.5, training=False), False, False),
        (lambda net, y: F.dropout(y, 0.5, True), True, True),
        (lambda net, y: net.drop(y), False, True),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_dropout_drops_when_the_model_s_does(function, drops, drops_in_training, training):
    model = Net(function).train(training)
    converted = mass.convert(model, X, verify=not drops)  # what is drawn anew for each image moves with none
    for mode, drop in ((False, drops), (True, drops_in_training)):
        assert ((converted.train(mode)(X) == 0).float().mean() > 0.3) == drop


def writes(how):
    def function(net, y):
        y = y * 1
        how(y)
        return net.second(y)

    return function


@pytest.mark.parametrize(
    "how",
    [
        lambda y: y.flatten(1).relu_(),
        lambda y: y[:, :, 0].zero_(),
        lambda y: y[:, :, ::2, ::2].mul_(0),
        lambda y: y[:, :, 1:-1, 1:-1].zero_(),
        lambda y: y[:, 1:3].mul_(3),
        lambda y: nn.Flatten()(y).relu_(),
        lambda y: torch.sigmoid(y, out=y),
    ],
)
def test_writes_through_views_are_seen_or_refused(how):
    model = Net(writes(how)).eval()
    try:
        converted = mass.convert(model, X, origin="zero")
    except mass.NotEquivariantError as refusal:
        assert str(refusal).endswith(".")
        return
    assert torch.allclose(converted(X), model(X), atol=1e-4)
    assert torch.equal(mass.convert(model, X)(X.roll(T, (2, 3))), mass.convert(model, X)(X).roll(T, (2, 3)))


@pytest.mark.parametrize("seed", range(8))
def test_outputs_of_another_size_than_the_plain_network_s(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 4), nn.Conv2d(4, 4, 4), nn.LPPool2d(2, 3, 3)).eval()
    x = torch.randn(1, 3, 24, 24)
    try:
        converted = mass.convert(model, x)
    except mass.NotEquivariantError as refusal:
        assert str(refusal).endswith(".")
    else:
        assert mass.certify(converted, x, 6)


def test_interpolation_by_a_factor_samples_where_it_did():
    model = Net(lambda net, y: F.interpolate(y[..., :6, :6] * 1, scale_factor=0.4).mean((2, 3))).eval()
    x = torch.randn(1, 3, 6, 6)
    whole = Net(lambda net, y: F.interpolate(y, scale_factor=0.4).mean((2, 3))).eval()
    whole.load_state_dict(model.state_dict())
    try:
        zero = mass.convert(whole, x, origin="zero")
    except mass.NotEquivariantError:
        return
    assert torch.allclose(zero(x), whole(x), atol=1e-5)


@pytest.mark.parametrize("height", [24, 32, 64])
def test_the_pooled_branch_of_an_aspp_at_other_sizes(height):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.out = nn.Conv2d(3, 6, 3, 4, 1), nn.Conv2d(12, 4, 1)

        def forward(self, x):
            y = self.down(x)
            pooled = F.interpolate(F.adaptive_avg_pool2d(y, 1), size=y.shape[2:], mode="bilinear")
            return self.out(torch.cat((y, pooled), 1))

    small = torch.randn(1, 3, 4, 4)
    x = torch.randn(2, 3, height, 2 * height)
    for example in (small, torch.randn(1, 3, 8, 12)):
        try:
            converted = mass.convert(Pooled().eval(), example)
            found = converted(x)
        except ValueError as refusal:  # what was decided for one position does not hold for more
            assert str(refusal).endswith(".")
            continue
        assert found.shape[2:] == (height // 4, height // 2) and mass.certify(converted, x, 4)


@pytest.mark.parametrize("example", [(1, 3, 2, 2), (1, 3, 1, 8), (1, 3, 3, 3)])
def test_examples_smaller_than_the_total_stride(example):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.MaxPool2d(2, ceil_mode=True)).eval()
    with pytest.raises(mass.NotEquivariantError, match=r"would do\.$"):
        mass.convert(model, torch.randn(example))


class Tokens(nn.Module):
    """Attention over the positions of a map at a stride, and a linear layer over all of them."""

    def __init__(self, stride, size):
        super().__init__()
        self.down, self.attend = nn.Conv2d(3, 4, 3, stride, 1), nn.MultiheadAttention(4, 2, batch_first=True)
        count = 4 * size[0] * size[1] // stride**2
        self.mix, self.mixes = nn.Linear(count, count), stride == 1

    def forward(self, x):
        y = self.down(x)
        tokens = y.flatten(2).transpose(1, 2)
        y = self.attend(tokens, tokens, tokens)[0].transpose(1, 2).reshape(y.shape)
        return self.mix(y.flatten(1)).view(y.shape) if self.mixes else y.mean((2, 3))


@pytest.mark.parametrize("size", [(6, 8), (1, 8), (8, 1), (1, 1)])
def test_dense_outputs_of_one_row_one_column_or_one_position(size):
    """Computed in the frame and moved back, to the bit."""
    x = torch.randn(2, 3, *size)
    converted = mass.convert(Tokens(1, size).eval(), x)
    certificate = mass.certify(converted, x)
    assert certificate.outcome is mass.Outcome.CERTIFIED, certificate
    assert certificate.outputs[0].motion.axes == ((2, 3) if size != (1, 1) else ())


@pytest.mark.parametrize("size", [(4, 4), (8, 8)])
def test_tokens_of_a_map_of_one_position(size):
    x = torch.randn(2, 3, *size)
    assert mass.certify(mass.convert(Tokens(4, size).eval(), x), x)
