"""Certificates and consistencies say what is, and refuse to speak of NaN."""

import math

import pytest
import torch
from torch import nn

import mass
from companion.data.generated.hard_images import awkward_images
from companion.models.random_weights import calibrated
from mass.baselines import convert_to_aps, convert_to_flc, convert_to_tips
from mass.evaluate.consistency import Protocol

X = torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def plain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()


def test_a_plain_and_a_converted_model():
    certificate = mass.certify(plain(), X, shifts=[(0, 0), (1, 1)])
    assert not certificate.identical.any() and "selects a different sampling phase" in certificate.verdict
    assert (certificate.max_difference > 0).all() and certificate.margin.isnan().all()
    certificate = mass.certify(mass.convert(plain(), X), X)
    assert len(certificate.shifts) == 16 and len({(i % 4, j % 4) for i, j in certificate.shifts}) == 16
    assert certificate.identical.all() and (certificate.max_difference == 0).all()
    assert ((certificate.margin > 0) & (certificate.margin < 1)).all()
    assert (
        certificate.verdict == "CERTIFIED: bit-identical output for 3 of 3 images under all 16 residues modulo 4 x 4."
    )
    assert "smallest margin" in str(certificate)


def test_rounding_is_told_from_another_grid():
    class Rounds(nn.Module):
        def forward(self, x):
            return (x * torch.linspace(1, 1 + 1e-6, x.shape[3])).mean((2, 3)) + 1

    verdict = mass.certify(Rounds(), X, shifts=[(0, 5)]).verdict
    assert "a matter of rounding" in verdict and "MKL_CBWR=AVX2,STRICT" in verdict


@pytest.mark.parametrize(("dtype", "share"), [(torch.float32, 3e-3), (torch.float64, 1e-9)])
def test_more_than_the_dtype_rounds_is_no_rounding(dtype, share):
    """What a position adds (a hook that multiplies by it, say) may be small, and is another number."""

    class Positioned(nn.Module):
        def forward(self, x):
            return (x * torch.linspace(1, 1 + share, x.shape[3], dtype=x.dtype)).amax((2, 3))

    certificate = mass.certify(Positioned(), X.to(dtype), shifts=[(0, 5)])
    assert 0 < certificate.max_difference.max() < share and "which is more than rounding" in certificate.verdict


def test_nan_is_reported():
    x = X.clone()
    x[1, 0, 3, 3] = torch.nan
    certificate = mass.certify(mass.convert(plain(), X), x, shifts=3)
    assert certificate.identical.tolist() == [True, False, True]
    assert certificate.max_difference[1].isnan() and "image 1 gives NaN or infinity" in certificate.verdict


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("function", [mass.consistency, mass.circular_consistency])
def test_consistency_refuses_nan(function, value):
    x = X.clone()
    x[2, 0, 0, 0] = value
    with pytest.raises(ValueError, match="the images contain NaN or infinity in row 2"):
        function(plain(), x)

    class Broken(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) / 0

    with pytest.raises(ValueError, match="the model's outputs contain NaN"):
        function(Broken(), X)


def test_feature_maps_are_compared_on_their_lattice():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    assert mass.certify(mass.convert(model, X), X).identical.all()
    assert not mass.certify(model, X, shifts=6).identical.any()


def test_structured_outputs():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 1, 1)

        def forward(self, x):
            y = self.conv(x)
            return {"out": y, "pooled": [y.mean((2, 3))]}

    converted = mass.convert(Both(), X)
    assert mass.certify(converted, X, shifts=5).identical.all()

    class Labels(nn.Module):
        def forward(self, x):
            return converted(x)["out"].argmax(1)  # (B, H, W), integers

    assert mass.certify(Labels(), X, shifts=5).identical.all()


def test_evaluation_leaves_the_mode_alone():
    model = plain().train()
    model[1].eval()
    mass.certify(model, X, shifts=1)
    mass.circular_consistency(model, X)
    assert model.training and not model[1].training


def test_what_breaks_aps():
    """On two identical objects APS as published picks the first component, by index."""
    images = torch.cat([awkward_images(64, 64)[n] for n in ("photograph", "two equal objects")])
    model = calibrated("resnet18")
    broken = ~mass.certify(convert_to_aps(model, images), images, shifts=12).identical
    assert broken.tolist() == [False, True]
    assert mass.certify(mass.convert(model, images), images, shifts=12).identical.all()


def test_protocols_draw_what_they_say():
    for name, protocol in mass.PROTOCOLS.items():
        drawn = protocol.draw(4000, torch.Generator().manual_seed(0))
        assert (drawn.min().item(), drawn.max().item()) == (protocol.low, protocol.high), name
    x = torch.arange(48.0 * 48).view(1, 1, 48, 48)
    by = torch.tensor([[3, 5]])
    assert torch.equal(mass.PROTOCOLS["mass"].move(x, by), x.roll((-3, -5), (2, 3)))
    assert torch.equal(mass.PROTOCOLS["crop"].move(x, by), x[:, :, 3:19, 5:21])
    zero = mass.PROTOCOLS["zero"].move(x, by)
    assert torch.equal(zero[:, :, :-3, :-5], x[:, :, 3:, 5:]) and zero[:, :, -3:].abs().sum() == 0


def test_consistency_counts():
    class Left(nn.Module):
        """Says whether the bright pixel lies in the left half: right for half of all shifts."""

        def forward(self, x):
            left, right = x[..., : x.shape[3] // 2].sum((1, 2, 3)), x[..., x.shape[3] // 2 :].sum((1, 2, 3))
            return torch.stack((left, right), 1)

    x = torch.zeros(2000, 1, 1, 32)
    x[..., 0] = 1
    assert math.isclose(mass.circular_consistency(Left(), x), 50, abs_tol=4)
    assert mass.circular_consistency(Left(), x) == mass.consistency(Left(), x, "mass")
    assert mass.circular_consistency(Left(), x, seed=1) != mass.circular_consistency(Left(), x, seed=2)
    batches = [(x[:1000], torch.zeros(1000)), (x[1000:], torch.zeros(1000))]
    assert math.isclose(mass.circular_consistency(Left(), batches), 50, abs_tol=4)
    assert mass.circular_consistency(mass.convert(plain(), X), X) == 100


@pytest.mark.parametrize("protocol", ["mass", "lps"])
def test_segmentation_consistency(protocol):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(8, 5, 1)).eval()
    assert mass.segmentation_consistency(mass.convert(model, X), X, protocol) == 100
    assert 20 < mass.segmentation_consistency(model, X, protocol) < 99


class Named(nn.Module):
    """Logits by a name."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, x):
        return {self.name: plain()(x)}


def test_logits_by_name_are_found():
    assert mass.consistency(Named("logits"), X) == mass.consistency(Named("out"), X)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mass.certify(plain(), X[0]), ValueError, "add the batch axis"),
        (lambda: mass.certify(plain(), X[:0]), ValueError, "the map is empty"),
        (lambda: mass.certify(plain(), X.long()), TypeError, "torch.int64"),
        (lambda: mass.certify(plain(), X, shifts=[]), ValueError, "no shifts were given"),
        (lambda: mass.consistency(plain(), X, "best"), ValueError, "unknown protocol 'best'; choose one of mass"),
        (lambda: mass.consistency(plain(), []), ValueError, "there are no images"),
        (lambda: mass.consistency(plain(), X[..., :20], "crop"), ValueError, "too small for crops"),
        (lambda: mass.circular_consistency(plain(), X, max_shift=0), ValueError, "max_shift must be at least 1"),
        (lambda: mass.segmentation_consistency(plain(), X, "aps"), ValueError, "choose mass or lps"),
        (
            lambda: mass.segmentation_consistency(plain(), X),
            ValueError,
            r"expected outputs \(B, classes, H, W\) of two classes or more",
        ),
        (
            lambda: mass.consistency(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1)), X),
            ValueError,
            "of one logit z",
        ),
        (
            lambda: mass.consistency(Named("scores"), X),
            ValueError,
            "the model returns 'scores' by name, and neither 'out' nor",
        ),
        (
            lambda: mass.consistency(nn.AdaptiveMaxPool2d(1, return_indices=True), X),
            TypeError,
            "the model returns a tuple, and consistency reads one tensor of logits",
        ),
    ],
)
def test_wrong_inputs(call, error, message):
    with pytest.raises(error, match=message):
        call()


class Label(nn.Module):
    """The label of a network that reads the whole map."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))

    def forward(self, x):
        return self.layers(x).argmax(1)


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
def test_what_keeps_to_the_frame_is_asked_at_all_shifts():
    """A fixed grid under something that reads the whole map, filters alone, TIPS: none is the same under multiples of the total stride."""
    x, cnn = (
        torch.rand(1, 3, 16, 16),
        nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval(),
    )
    networks = [
        mass.convert(Label().eval(), x, origin="zero"), mass.antialias(cnn, x), convert_to_tips(cnn, x), convert_to_flc(cnn, x),
    ]  # fmt: skip
    assert all(mass.certify(network, x).residues == (16, 16) for network in networks)
    assert (
        mass.certify(mass.convert(cnn, x), x).residues
        == mass.certify(mass.convert(cnn, x, origin="zero"), x).residues
        == (4, 4)
    )
    assert mass.certify(mass.convert(mass.antialias(cnn, x), x), x).residues == (4, 4)


def test_what_was_not_compared_is_in_the_verdict():
    class Told(nn.Module):
        def forward(self, x):
            return {"score": x.amax((1, 2, 3)), "text": f"{x[0, 0, 0, 0].item():.3f}"}

    found = mass.certify(Told(), X)
    assert found.not_compared == ["'text' (str)"] and found.verdict.endswith("Not compared: 'text' (str).")


@pytest.mark.parametrize("made", [("circles", 0, 3), ("circular", 3, 0), ("crop", -1, 3), ("zero", -8, 4)])
def test_a_protocol_that_draws_no_shift_is_refused(made):
    with pytest.raises(ValueError, match=r"a protocol is 'circular'|no shifts of the kind"):
        Protocol(*made)
