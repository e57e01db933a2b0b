"""Positions have a reference: what lies at a place in a coarse output, in pixels of the input, moves with the image."""

import copy
import dataclasses
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass

X = torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))
SIZE = torch.tensor([32, 48])


def heat_map():
    """A heat map at stride 8."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, 2, 1), nn.Conv2d(6, 1, 1)
    ).eval()


def peak(heat):
    """Row and column of the largest value, (B, 1, H, W) -> (B, 2)."""
    index = heat.flatten(1).argmax(1)
    return torch.stack((index // heat.shape[3], index % heat.shape[3]), 1)


def run(converted, x):
    with torch.no_grad(), mass.output_origins(converted) as passes:
        y = converted(x)
    return y, passes[0]


@pytest.fixture(scope="module")
def converted():
    return mass.convert(heat_map(), X)


def test_the_peak_of_a_heat_map_moves_with_the_image_under_every_shift(converted):
    heat, found = run(converted, X)
    assert found[""].axes == (2, 3) and found[""].stride == (8, 8) and found[""].size == (32, 48)
    assert found[""].origin.shape == (3, 2) and found[""].origin.dtype == torch.int64
    assert (found[""].origin >= 0).all() and (found[""].origin < 8).all()
    before = found[""].to_pixels(peak(heat))
    batch = torch.stack([torch.roll(X[0], (-i, -j), (1, 2)) for i in range(32) for j in range(48)])
    shifts = torch.tensor([(i, j) for i in range(32) for j in range(48)])
    moved = 0
    for x, t in zip(batch.split(256), shifts.split(256), strict=True):
        heat, found = run(converted, x)
        assert torch.equal(found[""].to_pixels(peak(heat)), (before[0] - t) % SIZE)
        assert torch.equal(found[""].to_pixels(peak(heat), centre=True), (before[0] - t + 3.5) % SIZE)
        moved += int((found[""].origin != 0).any())
    assert moved  # without the origins it does not: 8 n alone is no pixel of the image
    alone = torch.stack([8 * peak(converted(x))[0] for x in batch[:8].split(1)])
    assert not torch.equal(alone, (alone[0] - shifts[:8]) % SIZE)


def test_values_lie_where_the_origin_says(converted):
    """A strided 1 x 1 convolution samples pixels: position n is pixel O + S n, to the bit."""
    sampling = nn.Conv2d(3, 3, 1, 4, groups=3, bias=False).eval()
    nn.init.ones_(sampling.weight)
    y, found = run(mass.convert(sampling, X), X)
    for b in range(3):
        (row, column), (h, w) = found[""].origin[b].tolist(), y.shape[2:]
        rows, columns = (row + 4 * torch.arange(h)) % 32, (column + 4 * torch.arange(w)) % 48
        assert torch.equal(y[b], X[b][:, rows][:, :, columns])


def test_centres():
    """`centre` is the middle of a pooling window; without, the centre of a window with symmetric padding."""
    pixel = torch.zeros(1, 1, 32, 32)
    pixel[..., 13, 22] = 1
    y, found = run(mass.convert(nn.AvgPool2d(8), pixel), pixel)
    middle = found[""].to_pixels(peak(y), centre=True)
    assert ((middle - torch.tensor([13, 22])).abs() <= 3.5).all()
    conv = nn.Conv2d(1, 1, 3, 4, 1, bias=False).eval()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[0.1, 0.2, 0.1], [0.2, 1, 0.2], [0.1, 0.2, 0.1]]))
    y, found = run(mass.convert(conv, pixel), pixel)
    assert found[""].to_pixels(peak(y)).tolist() == [[13, 22]]  # its largest weight is the middle one
    upsampled = F.interpolate(torch.arange(4.0).view(1, 1, 1, 4), scale_factor=(1, 8), mode="bilinear")
    here = mass.to_pixels(torch.tensor([[0, 1], [0, 2]]), (1, 8), torch.zeros(2, 2).long(), (1, 32), centre=True)
    for n, column in ((1, here[0, 1]), (2, here[1, 1])):  # half-pixel interpolation has the value n there
        below = int(column)
        assert (upsampled[..., below] + upsampled[..., below + 1]).item() / 2 == n and column - below == 0.5


class Detector(nn.Module):
    """A pyramid, scores, and boxes computed from the whole map."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.boxes, self.scores = nn.Linear(6 * 8 * 12, 4), nn.Linear(6, 5)

    def forward(self, x):
        a = self.a(x).relu()
        b = self.b(a).relu()
        pyramid = {"p1": a, "p2": [b, b.permute(0, 2, 3, 1)]}
        return {"pyramid": pyramid, "up": F.interpolate(b, scale_factor=4), "boxes": self.boxes(b.flatten(1)),
                "scores": self.scores(b.mean((2, 3)))}  # fmt: skip


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(1)
    return mass.convert(Detector().eval(), X)


def test_every_output_of_a_structure_has_its_lattice(detector):
    _, found = run(detector, X)
    assert {path: (o.axes, o.stride) for path, o in found.items()} == {
        "pyramid.p1": ((2, 3), (2, 2)),
        "pyramid.p2[0]": ((2, 3), (4, 4)),
        "pyramid.p2[1]": ((1, 2), (4, 4)),
        "up": ((2, 3), (1, 1)),
        "boxes": ((), (32, 48)),
    }
    assert not found["up"].origin.any()
    assert torch.equal(found["pyramid.p1"].origin, found["pyramid.p2[0]"].origin % 2)
    assert torch.equal(found["pyramid.p2[0]"].origin, found["boxes"].origin % 4)


def test_coordinates_from_the_whole_map_are_relative_to_its_origin(detector):
    t = torch.tensor([5, 11])
    (y, still), (z, moved) = run(detector, X), run(detector, mass.shift(X, t))
    assert torch.equal(y["boxes"], z["boxes"])  # it does not move
    corners, again = y["boxes"].abs().view(3, 2, 2), z["boxes"].abs().view(3, 2, 2)
    expected = (still["boxes"].to_pixels(corners) - t) % SIZE
    assert torch.allclose(moved["boxes"].to_pixels(again), expected, atol=1e-4)
    certificate = mass.certify(detector, X, 3)
    assert certificate, certificate
    assert "'boxes' (3, 4) invariant; computed from the whole map at its origin: coordinates in it are relative" in str(
        certificate
    )
    assert [o.path for o in certificate.outputs if o.from_whole_map] == ["boxes"]
    assert "Output 'boxes' is computed from the whole map at its origin" in mass.explain(Detector(), X).summary


class Regression(nn.Module):
    """A heat map at stride 4, and what is made of it."""

    def __init__(self, answer):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 1, 3, 2, 1)
        self.linear, self.logits, self.answer = nn.Linear(96, 4), nn.Linear(1, 4), answer
        self.register_buffer("columns", 4 * torch.arange(12.0))

    def forward(self, x):
        heat = self.b(self.a(x).relu())
        return {"heat": heat, "answer": self.answer(self, heat)}

    def encode(self, x):
        return self.linear(self.b(self.a(x)).flatten(1))


def soft_argmax(net, heat):
    return ((9 * heat).flatten(2).softmax(2).view(heat.shape) * net.columns).sum((2, 3))


COORDINATES = {
    "linear": lambda net, heat: net.linear(heat.flatten(1)),
    "soft-argmax": soft_argmax,
    "arange": lambda net, heat: (heat * torch.arange(heat.shape[3])).sum((2, 3)),
    "argmax": lambda net, heat: heat.flatten(1).argmax(1),
    "cells": lambda net, heat: F.adaptive_avg_pool2d(heat, 2).flatten(1),
    "rows": lambda net, heat: heat.mean(3),
    "scaled": lambda net, heat: {"box": 2 * soft_argmax(net, heat) + 1},
}
TOLD = "is computed from the whole map at its origin: coordinates in it are relative to that origin"


@pytest.mark.parametrize("name", COORDINATES)
def test_convert_certify_and_explain_tell_of_coordinates(name):
    model, path = Regression(COORDINATES[name]).eval(), "answer.box" if name == "scaled" else "answer"
    with pytest.warns(mass.CoordinatesWarning, match=f"^Output '{path}' {TOLD}") as told:
        converted = mass.convert(model, X)
    assert len(told) == 1 and told[0].filename == __file__
    assert [o.path for o in mass.certify(converted, X, 2).outputs if o.from_whole_map] == [path]
    assert f"Output '{path}' {TOLD}" in mass.explain(model, X).summary


@pytest.mark.parametrize(
    "answer", [lambda net, heat: net.logits(heat.mean((2, 3))), lambda net, heat: heat.amax((2, 3)), lambda net, heat: -heat]
)  # fmt: skip
def test_of_what_holds_none_nothing_is_told(answer):
    with warnings.catch_warnings():
        warnings.simplefilter("error", mass.CoordinatesWarning)
        mass.convert(Regression(answer).eval(), X)


def test_of_a_method_it_is_told_by_its_name():
    with pytest.warns(mass.CoordinatesWarning, match="^encode: The output is computed from the whole map"):
        mass.convert(Regression(lambda net, heat: -heat).eval(), X, methods=("encode",))


def test_a_place_in_the_frame_is_a_place_in_the_image():
    """The same peak, read off the heat map and computed in the frame, is one pixel; and it moves."""
    with pytest.warns(mass.CoordinatesWarning):
        converted = mass.convert(Regression(COORDINATES["argmax"]).eval(), X)
    for t in torch.tensor([(0, 0), (1, 0), (3, 5), (31, 14)]):
        y, found = run(converted, mass.shift(X, t))
        index = y["answer"]
        in_frame = found["answer"].to_pixels(4 * torch.stack((index // 12, index % 12), 1))
        assert torch.equal(in_frame, found["heat"].to_pixels(peak(y["heat"])))
        if not t.any():
            first = in_frame
        assert torch.equal(in_frame, (first - t) % SIZE)


def test_it_survives_copies_and_pickling(detector):
    expected = run(detector, X)[1]
    for kept in (
        copy.deepcopy(detector),
        pickle.loads(pickle.dumps(detector)),
        copy.deepcopy(pickle.loads(pickle.dumps(copy.deepcopy(detector)))),
    ):
        found = run(kept, X)[1]
        assert found.keys() == expected.keys() and kept.mass_outputs == detector.mass_outputs
        assert all(torch.equal(found[path].origin, expected[path].origin) for path in found)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d((2, 2))),
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(16, 2)),
        nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 2, 2)),
        nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ConvTranspose2d(4, 4, 2, 2)),
    ],
)
@pytest.mark.parametrize("size", [(32, 48), (64, 32)])
def test_at_other_sizes(model, size):
    torch.manual_seed(0)
    converted, t = mass.convert(model.eval(), X), torch.tensor([5, 7])
    x = torch.randn(4, 3, *size)
    (_, still), (_, moved) = run(converted, x), run(converted, mass.shift(x, t))
    stride = torch.tensor(still[""].stride)
    assert (still[""].origin < stride).all()
    assert torch.equal((still[""].origin - t) % stride, moved[""].origin)


@dataclasses.dataclass
class Found:
    heat: torch.Tensor
    boxes: torch.Tensor


class Structured(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.boxes = nn.Conv2d(3, 2, 4, 4), nn.Linear(2 * 8 * 12, 4)

    def forward(self, x):
        y = self.conv(x)
        return {"first": Found(y, self.boxes(y.flatten(1))), "rest": [y.argmax(1)]}


def test_dataclasses_and_label_maps():
    torch.manual_seed(0)
    converted = mass.convert(Structured().eval(), X)
    for kept in (converted, copy.deepcopy(converted)):
        _, found = run(kept, X)
        assert {path: (o.axes, o.stride) for path, o in found.items()} == {
            "first.heat": ((2, 3), (4, 4)),
            "first.boxes": ((), (32, 48)),
            "rest[0]": ((1, 2), (4, 4)),
        }
    assert mass.certify(converted, X, 4)


def test_maps_finer_than_the_input():
    torch.manual_seed(0)
    converted = mass.convert(nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.ConvTranspose2d(4, 1, 2, 2)).eval(), X)
    t = torch.tensor([5, 11])
    (y, still), (z, moved) = run(converted, X), run(converted, mass.shift(X, t))
    assert still[""].stride == (0.5, 0.5) and not still[""].origin.any()
    for centre in (False, True):
        before, after = still[""].to_pixels(peak(y), centre=centre), moved[""].to_pixels(peak(z), centre=centre)
        assert torch.equal(after, (before - t) % SIZE)
    assert mass.certify(converted, X, 4)


@pytest.mark.parametrize("seed", range(6))
def test_strides_of_rows_and_columns_may_differ(seed):
    torch.manual_seed(seed)
    converted = mass.convert(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d((2, 2))).eval(), X)
    assert run(converted, X)[1][""].stride == (16, 24)
    certificate = mass.certify(converted, X, 6)
    assert certificate and "on its lattice of stride 16 x 24" in str(certificate)


def test_signals_and_controls():
    signal = torch.randn(2, 1, 64)
    _, found = run(mass.convert(nn.Conv1d(1, 2, 5, 4, 2).eval(), signal), signal)
    assert found[""].axes == (2,) and found[""].stride == (1, 4) and not found[""].origin[:, 0].any()
    _, found = run(mass.convert(heat_map(), X, origin="zero"), X)
    assert found[""].stride == (8, 8) and not found[""].origin.any()
    pooled = mass.convert(nn.Sequential(heat_map(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), X)
    assert run(pooled, X)[1] == {}  # no position is left


def test_one_pass_each_and_nothing_left_behind(converted):
    with mass.output_origins(converted) as passes:
        converted(X)
        converted(X[:1])
    assert [found[""].origin.shape for found in passes] == [(3, 2), (1, 2)]
    converted(X)
    assert len(passes) == 2 and not any(m._forward_hooks or m._forward_pre_hooks for m in converted.modules())


def test_a_method_that_was_converted_is_heard():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.Linear(4, 3)

        def forward_features(self, x):
            return self.second(self.first(x).relu())

        def forward(self, x):
            return self.head(self.forward_features(x).mean((2, 3)))

    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network, t = mass.convert(Net().eval(), x, methods=("forward_features",)), torch.tensor([5, 3])
    with mass.output_origins(network) as passes, mass.record_origins(network) as chosen:
        maps, moved = network.forward_features(x), network.forward_features(mass.shift(x, t))
        network(x)
    before, after = passes[0][""], passes[1][""]
    assert before.stride == (4, 4) and len(passes) == len(chosen) == 3 and all(len(found) == 2 for found in chosen)
    steps = (t + after.origin - before.origin) // 4
    assert all(torch.equal(m, y.roll((-k).tolist(), (1, 2))) for m, y, k in zip(moved, maps, steps, strict=True))


def test_positions_between_samples_and_in_any_shape():
    origin = torch.tensor([[5, 2], [0, 31]])
    n = torch.tensor([[[0.5, 1.25], [3.0, 3.75]], [[0.0, 0.5], [1.0, 1.0]]])
    found = mass.to_pixels(n, (8, 4), origin, (32, 16))
    assert found.tolist() == [[[9, 7], [29, 1]], [[0, 1], [8, 3]]]
    assert mass.to_pixels(n.bfloat16(), (8, 4), origin, (32, 16)).dtype == torch.float32
    whole = torch.tensor([[3, 3], [1, 0]], dtype=torch.int32)
    assert mass.to_pixels(whole, 8, origin, (32, 32)).dtype == torch.int64
    assert mass.to_pixels(whole, 8, origin, (32, 32)).tolist() == [[29, 26], [8, 31]]


N, O = torch.zeros(2, 5, 2), torch.zeros(2, 2).long()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mass.to_pixels(N[0, 0], 8, O, (32, 32)), ValueError, r"shape \(B, ..., 2\), .* got \(2,\)"),
        (lambda: mass.to_pixels(N[..., :1], 8, O, (32, 32)), ValueError, "rows and columns last"),
        (lambda: mass.to_pixels([0, 1], 8, O, (32, 32)), TypeError, "got list"),
        (lambda: mass.to_pixels(N > 0, 8, O, (32, 32)), TypeError, "got torch.bool"),
        (lambda: mass.to_pixels(N, 8, O[:1], (32, 32)), ValueError, r"origin must have shape \(2, 2\)"),
        (lambda: mass.to_pixels(N, 8, O.float(), (32, 32)), TypeError, "int64"),
        (lambda: mass.to_pixels(N, 0, O, (32, 32)), ValueError, "stride must be a positive number"),
        (lambda: mass.to_pixels(N, 8, O, "large"), TypeError, "size must be an int or a pair"),
        (
            lambda: mass.OutputOrigin((), (8, 8), None, (32, 32)).to_pixels(N),
            ValueError,
            "each at an origin of its own",
        ),
        (lambda: mass.output_origins(heat_map()).__enter__(), TypeError, "what mass.convert returned, got Sequential"),
    ],
)
def test_wrong_inputs(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_place_just_in_front_of_the_image_is_in_it():
    places = mass.to_pixels(torch.tensor([[[-1e-8, 0.0]]]), 1, torch.tensor([[0, 0]]), (32, 32))
    assert places.tolist() == [[[0.0, 0.0]]]
