"""Networks of volumes (B, C, D, H, W), equivariant in depth as well: f(shift(x)) == shift(f(x)) along three axes, bit for bit."""

import copy
import dataclasses
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass
from mass.functional.origin.depth import select_plane, shift_planes, volume_hash

X = torch.randn(2, 2, 6, 8, 12, generator=torch.Generator().manual_seed(5))
LABELS = torch.randint(0, 3, (2, 6, 8, 12), generator=torch.Generator().manual_seed(6))
SHIFTS = st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 11))
DIMS = (2, 3, 4)


@dataclasses.dataclass
class Found:
    mask: torch.Tensor
    labels: torch.Tensor


class Segmentation(nn.Module):
    """Strides in depth, zero padding there, a skip, a dense output, labels, a vector of every plane, and logits."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv3d(2, 4, 3, 2, 1), nn.Conv3d(4, 8, 3, (1, 2, 2), 1)
        self.up, self.out = nn.Conv3d(8, 4, 1), nn.Conv3d(6, 3, 3, padding=1)
        self.norm, self.logits, self.of_planes = nn.InstanceNorm3d(8), nn.Linear(8, 5), nn.Linear(3, 2)

    def forward(self, x, labels=None):
        y = self.norm(self.b(self.a(x).relu()))
        mask = self.out(torch.cat((x, F.interpolate(self.up(y), size=x.shape[2:])), 1))
        found = {
            "dense": Found(mask, mask.argmax(1)),
            "planes": self.of_planes(mask.mean((3, 4)).transpose(1, 2)),
            "logits": self.logits(y.mean((2, 3, 4))),
        }
        return found if labels is None else found | {"loss": F.cross_entropy(mask, labels)}


@pytest.fixture(scope="module")
def segmentation():
    torch.manual_seed(0)
    return mass.convert(Segmentation().eval(), {"x": X, "labels": LABELS}, dims=DIMS)


def holds(converted, x, labels, t):
    before, after = converted(x=x, labels=labels), converted(x=x.roll(t, DIMS), labels=labels.roll(t, (1, 2, 3)))
    pairs = [
        (before["dense"].mask.roll(t, DIMS), after["dense"].mask),
        (before["dense"].labels.roll(t, (1, 2, 3)), after["dense"].labels),
        (before["planes"].roll(t[0], 1), after["planes"]),
        *((before[name], after[name]) for name in ("logits", "loss")),
    ]
    return all(torch.equal(a, b) for a, b in pairs)


@settings(max_examples=15)
@given(t=SHIFTS)
def test_it_moves_along_three_axes(segmentation, t):
    assert holds(segmentation, X, LABELS, t)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_awkward_volumes(segmentation, dtype):
    """Two equal objects, one bright voxel, a volume that is its own mirror image, a constant one; another depth."""
    pair, voxel = torch.zeros(2, 2, 6, 8, 12), torch.zeros(2, 2, 6, 8, 12)
    pair[:, :, 1, 2:4, 3:5], pair[:, :, 4, 3:5, 6:8], voxel[:, :, 3, 5, 7] = 1, 1, 1
    labels, converted = torch.zeros_like(LABELS), copy.deepcopy(segmentation).to(dtype)
    for x in (pair, voxel, X + X.flip(2), torch.cat((X, X[:, :, :2]), 2)):
        zeros = labels[:, :1].expand(-1, x.shape[2], -1, -1)
        assert all(holds(converted, x.to(dtype), zeros, t) for t in ((1, 0, 0), (3, 5, 7), (5, 7, 1)))


def test_it_is_certified_in_depth_too(segmentation):
    certificate = mass.certify(segmentation, {"x": X, "labels": LABELS})
    assert certificate.outcome is mass.Outcome.CERTIFIED and certificate.planes == (6, 6)
    assert certificate.verdict.endswith("modulo 4 x 4, each with one of all 6 shifts in depth.")
    some = mass.certify(segmentation, {"x": X, "labels": LABELS}, shifts=2)
    assert some.outcome is mass.Outcome.IDENTICAL and some.planes == (3, 6)
    broken = copy.deepcopy(segmentation)
    broken.mass_plane.forward = lambda x: torch.zeros(len(x), dtype=torch.int64)
    assert not mass.certify(broken, {"x": X, "labels": LABELS}, shifts=3)


def test_copies_keep_it(segmentation):
    for again in (copy.deepcopy(segmentation), pickle.loads(pickle.dumps(segmentation))):
        assert again.mass_planes == segmentation.mass_planes and holds(again, X, LABELS, (5, 3, 2))


def test_it_trains(segmentation):
    model = copy.deepcopy(segmentation).train()
    x = X.clone().requires_grad_()
    model(x=x, labels=LABELS)["loss"].backward()
    assert x.grad.abs().sum() > 0 and model.a.weight.grad.isfinite().all()


def test_in_depth_it_computes_what_the_network_for_videos_does():
    """On a volume in its frame there is no difference; elsewhere the video's is that of the volume that was moved there."""
    model = Segmentation().eval()
    video, volume = mass.convert(model, X), mass.convert(model, X, dims=DIMS)
    framed = shift_planes(X, select_plane(X))
    assert not select_plane(framed).any()
    assert torch.equal(video(framed)["logits"], volume(X)["logits"])
    assert torch.equal(volume(framed)["dense"].mask, video(framed)["dense"].mask)
    assert list(volume.state_dict()) == list(model.state_dict())
    assert not mass.certify(video, X.roll(1, 2), 2).planes


def test_a_network_of_videos_as_one_of_volumes():
    model = torchvision.models.video.r3d_18(num_classes=5).eval()
    x = torch.randn(1, 3, 8, 32, 32)
    converted = mass.convert(model, x, dims=DIMS)
    for t in ((1, 0, 0), (5, 9, 30)):
        assert torch.equal(converted(x.roll(t, DIMS)), converted(x))


@settings(max_examples=25)
@given(t=SHIFTS, kind=st.sampled_from(["noise", "pair", "zeros", "mirrored"]), seed=st.integers(0, 99))
def test_the_first_plane_follows_the_volume(t, kind, seed):
    x = torch.randn(1, 2, 6, 8, 12, generator=torch.Generator().manual_seed(seed))
    if kind == "pair":
        x = torch.zeros_like(x)
        x[..., 1, 2, 3], x[..., 4, 6, 9] = 1, 1
    elif kind == "zeros":
        x = torch.zeros_like(x)
    elif kind == "mirrored":
        x = x + x.flip(2)
    moved = shift_planes(x.roll(t, DIMS), select_plane(x.roll(t, DIMS)))
    framed = shift_planes(x, select_plane(x))
    places = ((volume_hash(moved) == volume_hash(framed)[:, :1, :1, :1]).flatten(1)).any()
    assert places  # the same volume, but for rows and columns, or a symmetry of its own
    if kind in ("noise", "zeros"):
        assert torch.equal(moved, framed.roll(t[1:], (3, 4)))


def test_a_cut_volume_is_put_together_where_it_was_cut():
    ramp = torch.linspace(0, 1, 8).view(1, 1, 8, 1, 1) + 0.01 * torch.randn(1, 1, 8, 6, 6)
    for by in range(8):
        assert select_plane(ramp.roll(by, 2)).item() == by


class Coarse(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.conv, self.head = nn.Conv3d(2, 4, 3, 2, 1), head

    def forward(self, x):
        return self.head(self.conv(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mass.convert(Coarse(nn.Identity()), X, dims=DIMS), r"of shape \(2, 4, 3, 4, 6\) of a volume of 6 planes: .*relative to"),
        (lambda: mass.convert(nn.Conv2d(2, 3, 3), X[:, :, 0], dims=DIMS), r"dims of an example of 4 axes must be \(2, 3\), got \(2, 3, 4\)"),
        (lambda: mass.convert(Coarse(nn.Identity()), X, dims=(2, 3)), r"must be \(3, 4\) or \(2, 3, 4\), in depth as well, got \(2, 3\)"),
        (lambda: mass.convert(Coarse(nn.Identity()), X, dims=DIMS, symmetrise=True), "symmetrise averages over rows and columns alone"),
        (lambda: mass.convert(Coarse(nn.Sequential(nn.Flatten(), nn.Linear(288, 12), nn.Unflatten(1, (6, 2)))), X, dims=DIMS),
         r"of shape \(2, 6, 2\), in which planes cannot be told from other axes"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_coarse_network_that_ends_in_a_vector_converts():
    model = Coarse(nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())).eval()
    assert mass.certify(mass.convert(model, X, dims=DIMS), X).outcome is mass.Outcome.CERTIFIED
