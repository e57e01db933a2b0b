"""Detectors in `mass.certify`, `mass.explain`, `mass.onnx`; and what they refuse, in one sentence each."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("torchvision")
from small_detectors import Pyramid, build
from torchvision.models.detection import RetinaNet, anchor_utils

import mass
from mass.evaluate.certificate import Outcome


@pytest.fixture(scope="module")
def detector():
    return mass.convert(build("retinanet"), torch.rand(1, 3, 64, 64))


@pytest.fixture(scope="module")
def plain():
    return build("retinanet")


def test_a_certificate_of_a_detector(detector):
    certificate = mass.certify(detector, [torch.rand(3, 64, 64), torch.rand(3, 64, 128)], shifts=4)
    assert certificate and certificate.outcome is Outcome.IDENTICAL
    assert certificate.verdict.startswith("BIT-IDENTICAL under 4 sampled shifts, of 8,192 residues")
    assert "boxes, scores, labels: 40, 40 detections, move along" in str(certificate)


def test_a_certificate_says_that_nothing_was_detected(detector):
    blind = copy.deepcopy(detector)
    blind.score_thresh = 1.0
    assert "Nothing was detected" in mass.certify(blind, torch.rand(1, 3, 64, 64), shifts=1).verdict


@pytest.mark.parametrize("stride", [1, 2])
def test_all_shifts_are_certified(stride):
    """Of an image so small that there are not many; without strides there is no origin but the canonical position's."""
    backbone = Narrow(stride)
    anchors = anchor_utils.AnchorGenerator(((4,),), ((1.0,),))
    model = RetinaNet(backbone, 2, anchor_generator=anchors, score_thresh=0.0).eval()
    nn.init.normal_(model.head.classification_head.cls_logits.weight, std=1.0)
    certificate = mass.certify(mass.convert(model, torch.rand(1, 3, 8, 8)), torch.rand(1, 3, 8, 8))
    assert certificate.outcome is Outcome.CERTIFIED and len(certificate.shifts) == 64, certificate
    assert "all 64 residues modulo 8 x 8" in certificate.verdict


class Narrow(nn.Module):
    """A backbone of one level."""

    out_channels = 4

    def __init__(self, stride=2):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride, 1)

    def forward(self, x):
        return self.conv(x).relu()


def test_the_certificate_names_the_first_box_that_differs(plain):
    certificate = mass.certify(plain, torch.rand(2, 3, 64, 64), shifts=[(1, 2)])
    assert not certificate and certificate.outcome is Outcome.OTHER_PHASE
    assert certificate.verdict.startswith(
        "NOT CERTIFIED: 2 of 2 images change, the detector finds something else: shift (1, 2), image 0, box "
    )
    assert certificate.worst == (1, 2) and certificate.difference in str(certificate)


def test_it_stops_where_it_is_told_to(plain):
    certificate = mass.certify(plain, torch.rand(1, 3, 64, 64), shifts=5, stop=True)
    assert len(certificate.shifts) == 1 and certificate.stopped


def test_an_image_with_a_symmetry(detector):
    """A pattern of period 12 under a stride of 32: no choice is equivariant, and the certificate says up to what."""
    x = torch.rand(3, 12, 12).repeat(1, 16, 16)[None]
    assert x.shape[2:] == (192, 192)
    certificate = mass.certify(detector, x, shifts=[(5, 3), (12, 0), (31, 17)])
    assert certificate.outcome in (Outcome.UP_TO_SYMMETRY, Outcome.IDENTICAL), certificate
    assert certificate


def test_nan_and_noise_are_told(detector):
    broken = torch.rand(1, 3, 64, 64)
    broken[0, 0, 3, 3] = torch.nan
    assert mass.certify(detector, broken, shifts=2).outcome is Outcome.NOT_FINITE

    class Noisy(RetinaNet):
        def forward(self, images, targets=None):
            return super().forward([image + torch.rand_like(image) for image in images])

    noisy = build("retinanet")
    noisy.__class__ = Noisy
    certificate = mass.certify(noisy, torch.rand(1, 3, 64, 64), shifts=2)
    assert (
        certificate.outcome is Outcome.NONDETERMINISTIC
        and "called again, shift (0, 0), image 0, box" in certificate.verdict
    )
    with pytest.raises(mass.NotEquivariantError, match="Noisy has a `forward` of its own"):
        mass.convert(noisy, torch.rand(1, 3, 64, 64))


def test_an_explanation_of_a_detector():
    found = mass.explain(build("mask"), torch.rand(1, 3, 64, 64))
    named = {row["operation"]: row["changes"] for row in found.rows}
    assert found.convertible and "in a canonical position that is read off the image" in found.summary
    assert named["rpn.anchor_generator"] == "laid at each map's origin, decoded relative to it"
    assert named["roi_heads.mask_roi_pool"] == "reads around the border" and "masks" in named
    assert any("backbone" in name for name in named)


def test_export_is_refused_in_a_sentence(detector, tmp_path):
    with pytest.raises(ValueError, match="a detector returns as many boxes as it finds"):
        mass.onnx.export(detector, torch.rand(1, 3, 64, 64), tmp_path / "model.onnx")


IMAGE = torch.rand(3, 64, 64)


@pytest.mark.parametrize(
    "images, said",
    [
        ([], "expected images, .* got none"),
        (None, "expected images, .* got NoneType"),
        (IMAGE[0], r"images\[0\] must have shape \(C, H, W\), got \(64,\)"),
        ([IMAGE, IMAGE.numpy()], r"images\[1\] must be a tensor \(C, H, W\), got ndarray"),
        ([IMAGE[None]], r"must have shape \(C, H, W\), got \(1, 3, 64, 64\)"),
        ([(IMAGE * 255).byte()], r"must be floating-point, in \[0, 1\], got torch.uint8"),
        ([IMAGE.double()], "is torch.float64, and the detector torch.float32"),
        ([torch.rand(3, 64, 50)], r"images\[0\] has width 50, .* total stride 32 does not divide: 32 or 64 would do"),
        ([torch.rand(3, 16, 64)], r"images\[0\] has height 16, .* stride 32 does not divide: 32 would do"),
        ([IMAGE, torch.rand(3, 64, 64, device="meta")], r"images\[1\] is on meta, and the detector on cpu"),
    ],
)
def test_wrong_images(detector, images, said):
    with pytest.raises((TypeError, ValueError), match=said):
        detector(images)


BOX = torch.tensor([[4.0, 4, 20, 20]])
ONE = torch.ones(1, dtype=torch.int64)


@pytest.mark.parametrize(
    "targets, said",
    [
        (None, "targets are needed in training mode"),
        ([], "a list of 1 dicts, one an image, got 0"),
        ([BOX], r"targets\[0\] must be a dict, got Tensor"),
        ([{"boxes": BOX}], r"targets\[0\] has no tensor 'labels'"),
        ([{"boxes": BOX[0], "labels": ONE}], r"4 boxes, and 1 labels"),
        ([{"boxes": BOX[:, :3], "labels": ONE}], r"targets\[0\]\['boxes'\] must have shape \(N, 4\)"),
        ([{"boxes": BOX, "labels": ONE.repeat(2)}], "1 boxes, and 2 labels"),
        ([{"boxes": BOX, "labels": ONE.float()}], "must be int64, got torch.float32"),
        ([{"boxes": torch.tensor([[4.0, 4, 4, 20]]), "labels": ONE}], r"\[0\] = \[4.0, 4.0, 4.0, 20.0\] has no area"),
        ([{"boxes": torch.tensor([[20.0, 4, 4, 20]]), "labels": ONE}], "ends before it begins"),
        ([{"boxes": BOX - 10, "labels": ONE}], "begins outside the image 64 x 64; mass.detection.wrap brings it in"),
        ([{"boxes": BOX + 64, "labels": ONE}], "begins outside the image 64 x 64"),
        ([{"boxes": torch.tensor([[4.0, 4, 90, 20]]), "labels": ONE}], "is larger than the image 64 x 64"),
        ([{"boxes": BOX * float("nan"), "labels": ONE}], "is not finite"),
        ([{"boxes": BOX.to("meta"), "labels": ONE}], "is on meta, and its image on cpu"),
    ],
)
def test_wrong_targets(detector, targets, said):
    with pytest.raises((TypeError, ValueError), match=said):
        copy.deepcopy(detector).train()([IMAGE], targets)


class OwnHead(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x):
        return self.head(x)


def test_what_cannot_be_converted(detector, plain):
    x = torch.rand(1, 3, 64, 64)
    own = copy.deepcopy(plain)
    own.head = OwnHead(own.head)
    with pytest.raises(mass.NotEquivariantError, match="'head' is a OwnHead, .* take torchvision's RetinaNetHead"):
        mass.convert(own, x)
    with pytest.raises(ValueError, match="converted before"):
        mass.convert(detector, x)
    with pytest.raises(ValueError, match="blend: of networks whose outputs are tensors alone"):
        mass.convert(plain, x, blend=0.1)
    with pytest.raises(ValueError, match="unknown origin rule"):
        mass.convert(plain, x, origin="l3")
    with pytest.raises(TypeError, match="expected example images"):
        mass.convert(plain, "image")
    with pytest.raises((ValueError, mass.NotEquivariantError), match="48"):
        mass.convert(plain, torch.rand(1, 3, 48, 64))
    with pytest.raises(mass.NotEquivariantError, match="'backbone' cannot be replaced"):
        detector.backbone = Pyramid()
    with pytest.raises(mass.NotEquivariantError, match="anchors for 3 levels, and the backbone gives 1"):
        few = copy.deepcopy(plain)
        few.backbone = Narrow()
        few.head = type(few.head)(4, 9, 4)
        mass.convert(few, x)
    with pytest.raises(TypeError, match="expected the images of a detector"):
        mass.certify(detector, {"images": x})
