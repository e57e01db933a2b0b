"""How an output is read: invariant, or moving along its axes, on its lattice; tables of what is right and what is wrong."""

import pytest
import torch
from returning import Pair, Prediction, Returns, X, strided
from torch import nn

import mass
from mass import Outcome
from mass.evaluate.comparison import readings

FINE = {
    "logits": (lambda y: y.amax((2, 3)), "(2, 4) invariant"),
    "one number an image": (lambda y: y.amax((1, 2, 3)), "(2,) invariant"),
    "channels first": (lambda y: y, "(2, 4, 16, 24) equivariant along axes 2 and 3"),
    "channels last": (lambda y: y.permute(0, 2, 3, 1), "(2, 16, 24, 4) equivariant along axes 1 and 2"),
    "labels": (lambda y: y.argmax(1), "(2, 16, 24) equivariant along axes 1 and 2"),
    "a boolean mask": (lambda y: y[:, 0] > 0, "(2, 16, 24) equivariant along axes 1 and 2"),
    "complex numbers": (lambda y: torch.complex(y, -y), "(2, 4, 16, 24) equivariant along axes 2 and 3"),
    "twice as fine": (
        lambda y: y.repeat_interleave(2, 2).repeat_interleave(2, 3),
        "(2, 4, 32, 48) equivariant along axes 2 and 3",
    ),
    "tokens": (lambda y: y.flatten(2).mT, "(2, 384, 4) equivariant along axis 1"),
    "none of a kind": (lambda y: y[:, :0].amax((2, 3)), "(2, 0) invariant"),
    "a dataclass": (lambda y: Prediction(y), "'mask' (2, 4, 16, 24) equivariant along axes 2 and 3"),
    "a named tuple": (lambda y: Pair(y.amax((2, 3)), y.argmax(1)), "'mask' (2, 16, 24) equivariant along axes 1 and 2"),
    "nested": (lambda y: {"a": [y, {"b": (y > 0,)}]}, "'a[1].b[0]' (2, 4, 16, 24) equivariant along axes 2 and 3"),
    "a number": (lambda y: {"y": y, "n": 3}, "'n' () invariant"),
    "one for all images": (lambda y: {"y": y, "anchors": torch.arange(5)}, "'anchors' (5,) invariant"),
    "an object beside it": (
        lambda y: {"y": y, "o": object(), "s": "text", "n": None},
        "not compared      'o' (object)",
    ),
}


@pytest.mark.parametrize("name", FINE)
def test_outputs_that_are_right(name):
    function, line = FINE[name]
    certificate = mass.certify(Returns(function), X, 5)
    assert certificate, certificate
    assert certificate.outcome is Outcome.IDENTICAL and certificate.max_difference.max() == 0
    assert line in str(certificate), certificate


def noise(y):
    return y + torch.rand_like(y)


still = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(1))
WRONG = {
    "a mask that stays": (lambda y: {"mask": still}, Outcome.STAYED, r"output 'mask' \(2, 4, 16, 24\) has the image's rows"),
    "labels that stay": (lambda y: still.argmax(1), Outcome.STAYED, r"the output \(2, 16, 24\) has the image's rows"),
    "channels last that stay": (lambda y: still.permute(0, 2, 3, 1), Outcome.STAYED, "is not shifted with the image"),
    "a finer map that stays": (lambda y: still.repeat(1, 1, 2, 2), Outcome.STAYED, "is not shifted with the image"),
    "a finer map that moves by t": (lambda y: y.repeat(1, 1, 2, 2) + still.repeat(1, 1, 2, 2), Outcome.OTHER_PHASE, "2 of 2"),
    "in a dataclass": (lambda y: Prediction(still), Outcome.STAYED, "output 'mask'"),
    "logits that move": (lambda y: y[:, :, 0, 0], Outcome.OTHER_PHASE, "selects a different sampling phase"),
    "labels of one corner": (lambda y: (y[:, 0, :3, :5] > 0), Outcome.OTHER_PHASE, "change, by up to 1 "),
    "as many as are positive": (lambda y: [y[0, 0, 0][y[0, 0, 0] > 0], y], Outcome.OTHER_PHASE, "change, in shape"),
    "more entries, at times": (lambda y: [y] * (1 + int(y[0, 0, 0, 0] > 0)), Outcome.OTHER_PHASE, "change, in shape"),
    "dropout that stays on": (lambda y: nn.functional.dropout(y, 0.5, True), Outcome.NONDETERMINISTIC, "not deterministic"),
    "noise": (noise, Outcome.NONDETERMINISTIC, "without any shift 2 of 2 images change"),
    "infinite": (lambda y: y / 0, Outcome.NOT_FINITE, "image 0 gives NaN or infinity"),
    "rounded by position": (
        lambda y: (y.double() * torch.linspace(1, 1 + 1e-9, 24, dtype=torch.float64)).amax((2, 3)),
        Outcome.ROUNDING,
        "a matter of rounding",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_outputs_that_are_wrong(name):
    function, outcome, sentence = WRONG[name]
    certificate = mass.certify(Returns(function), X, [(1, 3), (4, 4), (7, 5), (0, 9)])
    assert not certificate and certificate.outcome is outcome, certificate
    assert certificate.verdict.startswith("NOT CERTIFIED: ")
    with pytest.raises(AssertionError, match=sentence):
        assert certificate, certificate.verdict


@pytest.mark.parametrize(
    ("shape", "size", "dims", "axes"),
    [
        ((2, 21, 32, 48), (32, 48), (2, 3), [(2, 3)]),
        ((2, 4, 4, 4), (16, 16), (2, 3), [(2, 3), (1, 2), (3, 2), (2, 1), ()]),
        ((2, 16, 16, 16), (16, 16), (2, 3), [(2, 3), (1, 2), (3, 2), (2, 1)]),
        ((2, 64, 1, 1), (32, 32), (2, 3), [()]),
        ((2, 32, 48, 3, 7), (32, 48), (2, 3), [(1, 2)]),
        ((2, 32, 48), (32, 48), (2, 3), [(1, 2)]),
        ((2, 16, 24), (32, 48), (2, 3), [(), (1, 2), (2, 2)]),
        ((2, 64, 64), (32, 32), (2, 3), [(), (1, 2), (2, 1), (1, 1), (2, 2)]),
        ((2, 3, 5, 8, 12), (16, 24), (3, 4), [(3, 4), ()]),
        ((2, 8, 100), (400,), (2,), [(2,), (1,), ()]),
        ((2, 100), (400,), (2,), [(), (1,)]),
        ((2, 8, 400), (400,), (2,), [(2,), (1,)]),
        ((2, 7, 7, 9), (32, 48), (2, 3), [()]),
        ((2,), (32, 48), (2, 3), [()]),
    ],
)
def test_how_a_shape_may_be_read(shape, size, dims, axes):
    assert [motion.axes for motion in readings(shape, (1, *size)[-2:], dims)] == axes


@pytest.mark.parametrize(("order", "axes"), [((0, 1, 3, 2), "3 and 2"), ((0, 3, 2, 1), "2 and 1")])
def test_a_transposed_map_moves_along_its_own_axes(order, axes):
    class Transposed(nn.Sequential):
        def forward(self, x):
            return super().forward(x).permute(order)

    certificate = mass.certify(mass.convert(Transposed(nn.Conv2d(3, 4, 3, 2, 1)).eval(), X), X)
    assert certificate and f"equivariant along axes {axes} (its columns and rows are exchanged)" in str(certificate)
    assert not mass.certify(Returns(lambda x: x.mean(3, keepdim=True).expand_as(x).mT), X, [(1, 3)])


def test_coarse_maps_move_on_their_lattice_or_stay():
    converted = mass.convert(strided(), X)
    certificate = mass.certify(converted, X)
    assert certificate.outcome is Outcome.CERTIFIED
    assert "output            (2, 4, 4, 6) equivariant along axes 2 and 3, on its lattice of stride 4 x 4" in str(
        certificate
    )
    assert certificate.outputs[0].stride == (4, 4)
    assert not mass.certify(strided(), X, 6)

    class Framed(nn.Module):
        def forward(self, x):
            first = mass.select_origin(x, (16, 24))
            return mass.shift(x, first)[:, :, ::4, ::4]

    assert "(2, 3, 4, 6) invariant" in str(mass.certify(Framed(), X, 6))


def test_a_signals_row_that_stays_is_not_invariant():
    """(B, L) of signals of L holds a value for every position, as (B, H, W) of images does: staying is no answer."""
    signals = torch.rand(2, 1, 24, generator=torch.Generator().manual_seed(0))

    class Of(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x[:, 0])

    assert mass.certify(Of(lambda y: y), signals)
    assert not mass.certify(Of(lambda y: y.sort(1).values), signals)
    assert mass.certify(Of(lambda y: y.sort(1).values[:, :5]), signals)
