"""torchvision's detectors, converted: the same sets of boxes, labels, scores, masks and keypoints, bit for bit, wherever the image lies."""

import copy
import io
import itertools
import random
from dataclasses import replace

import pytest
import torch

pytest.importorskip("torchvision")
from small_detectors import CLASSES, KINDS, build, circular
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

import mass
from mass.detection import first_difference, is_detector, same_detections, shift_detections
from mass.detection.dense import see


@pytest.fixture(scope="module")
def converted():
    """Plain and converted detectors, by kind, made once."""
    made = {}

    def of(kind):
        if kind not in made:
            plain = build(kind)
            made[kind] = plain, mass.convert(plain, torch.rand(2, 3, 64, 64))
        return made[kind]

    return of


def moved(images, t):
    return [mass.shift(image[None], torch.tensor([t]))[0] for image in images]


def shifts(count, size=(64, 64), seed=0):
    """Every residue of rows and of columns is met once before any is met twice."""
    generator = random.Random(seed)
    rows, columns = ([*range(n)] for n in size)
    generator.shuffle(rows)
    generator.shuffle(columns)
    return list(itertools.islice(zip(itertools.cycle(rows), itertools.cycle(columns), strict=False), count))


@pytest.mark.parametrize("kind", KINDS)
def test_detections_move_along_to_the_bit(converted, kind):
    plain, model = converted(kind)
    images = [torch.rand(3, 64, 64), torch.randn(3, 64, 64)]
    with torch.no_grad():
        found = model(images)
        assert all(len(own["boxes"]) > 3 for own in found), [len(own["boxes"]) for own in found]
        assert any((own["boxes"][:, 2:] > 64).any() for own in found)  # some go on at the other side
        for t in shifts(12):
            for was, now in zip(found, model(moved(images, t)), strict=True):
                assert first_difference(was, now, t, (64, 64)) == ""
                assert all(torch.equal(was[name], now[name]) for name in ("scores", "labels"))  # in the same order
        if kind != "ssd":  # whose plain self needs images of 300 pixels
            was, now = plain(images), plain(moved(images, (5, 9)))
            assert not any(same_detections(a, b, (5, 9), (64, 64)) for a, b in zip(was, now, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_detector_keeps_its_class_and_weights(converted, kind):
    plain, model = converted(kind)
    assert isinstance(model, type(plain)) and is_detector(model) and is_detector(plain)
    ours, theirs = model.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert not any(a is b for a, b in zip(model.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["retinanet", "mask"])
def test_copies_and_pickles_find_the_same(converted, kind):
    _, model = converted(kind)
    x = torch.rand(1, 3, 64, 64)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    with torch.no_grad():
        found = model(x)[0]
        for other in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
            assert same_detections(found, other(x)[0], (0, 0), (64, 64))
            other.load_state_dict({name: value * 0 for name, value in other.state_dict().items()})
            assert not same_detections(found, other(x)[0], (0, 0), (64, 64))  # its graph computes with its own weights
        assert same_detections(found, model(x)[0], (0, 0), (64, 64))


@pytest.mark.parametrize(
    "kind, dtype", [("retinanet", torch.float64), ("retinanet", torch.bfloat16), ("keypoint", torch.bfloat16)]
)
def test_in_other_dtypes(converted, kind, dtype):
    """Boxes are float32 at least. Kernels of float64 may round by position; here they agree to 1e-9."""
    _, model = converted(kind)
    model, x = copy.deepcopy(model).to(dtype), torch.rand(1, 3, 64, 64).to(dtype)
    with torch.no_grad():
        found = model(x)[0]
        assert found["boxes"].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        for t in shifts(4):
            expected, now = shift_detections(found, t, (64, 64)), model(moved(x, t))[0]
            if dtype == torch.bfloat16:
                assert first_difference(found, now, t, (64, 64)) == ""
            assert torch.equal(expected["labels"], now["labels"])
            assert torch.allclose(expected["boxes"], now["boxes"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["retinanet", "ssdlite", "mask"])
def test_images_of_several_sizes(converted, kind):
    _, model = converted(kind)
    images = [torch.rand(3, 64, 64), torch.rand(3, 128, 64), torch.rand(3, 64, 64)]
    with torch.no_grad():
        found = model(images)
        for t in shifts(3, (128, 64)):
            for image, was, now in zip(images, found, model(moved(images, t)), strict=True):
                assert first_difference(was, now, t, tuple(image.shape[1:])) == ""
        batch = model(torch.stack([images[0], images[2]]))
    assert (
        same_detections(batch[0], found[0], (0, 0), (64, 64)) or kind == "mask"
    )  # windows of other images beside them
    for one in found:
        if "masks" in one:
            assert one["masks"].shape[0] == len(one["boxes"])


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssdlite"])
def test_without_seams_it_is_the_original_with_circular_borders(kind):
    """With the fixed grid, and nothing suppressed, what torchvision's own code finds that meets no side is found."""
    plain = build(kind)
    plain.nms_thresh, plain.detections_per_img, plain.score_thresh, plain.topk_candidates = 1.0, 10**6, 0.2, 10**6
    model = mass.convert(plain, torch.rand(1, 3, 64, 64), origin="zero")
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = model(x), circular(plain)(list(x))
    for a, b in zip(ours, theirs, strict=True):
        b = _inside(b)
        assert len(b["boxes"]) > 5
        for box, score, label in zip(*(b[name] for name in ("boxes", "scores", "labels")), strict=True):
            near = (a["boxes"] - box).abs().amax(1) < 2e-3
            assert (near & (a["labels"] == label) & ((a["scores"] - score).abs() < 1e-4)).any()


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssdlite"])
def test_gradients_of_boxes_are_the_original_s_with_circular_borders(kind):
    """To the image, of a detection that is the same in both."""
    plain = build(kind).double()
    plain.nms_thresh, plain.detections_per_img, plain.score_thresh, plain.topk_candidates = 1.0, 10**6, 0.2, 10**6
    model = mass.convert(plain, torch.rand(1, 3, 64, 64).double(), origin="zero", verify=False)
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    ours, theirs = model(x)[0], circular(plain)(list(x))[0]
    inside, largest = _inside(theirs), 0.0
    for box, score, label in list(zip(*(inside[name] for name in ("boxes", "scores", "labels")), strict=True))[:5]:
        near = (ours["boxes"] - box).abs().amax(1) < 2e-3
        (k,) = (near & (ours["labels"] == label) & ((ours["scores"] - score).abs() < 1e-4)).nonzero()[0].tolist()
        for coordinate in range(4):
            found, expected = (
                torch.autograd.grad(value, x, retain_graph=True)[0]
                for value in (ours["boxes"][k][coordinate], box[coordinate])
            )
            largest = max(largest, float(expected.abs().max()))
            assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert largest > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_found_has_a_gradient(converted, kind):
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    found = converted(kind)[1](x)[0]
    for name in found.keys() - {"labels"}:
        (gradient,) = torch.autograd.grad(found[name].sum(), x, retain_graph=True)
        assert gradient.isfinite().all() and gradient.any(), name


def _inside(found, size=64):
    """Detections that lie in the image, away from its sides, and are large enough to be told."""
    boxes = found["boxes"]
    keep = (boxes[:, :2] > 1).all(1) & (boxes[:, 2:] < size - 1).all(1)
    return {name: value[keep] for name, value in found.items()}


@pytest.mark.parametrize("kind", ["retinanet", "ssdlite"])
def test_another_position_finds_the_same_set(converted, kind, monkeypatch):
    """At which sample of the coarsest map the canonical position lies breaks ties alone: nothing is cut there."""
    _, model = converted(kind)
    x = torch.rand(1, 3, 128, 64)
    with torch.no_grad():
        found = model(x)[0]
        monkeypatch.setattr(
            "mass.detection.detectors.detector.see", lambda *given: [_elsewhere(one) for one in see(*given)]
        )
        again = model(x)[0]
    assert len(found["boxes"]) and same_detections(found, again, (0, 0), (128, 64))


def _elsewhere(seen):
    down = max(seen.strides)[0]
    levels = zip(*(y.items() for y in seen.maps.values()), strict=True)
    maps = {name: {} for name in seen.maps}
    for level, stride in zip(levels, seen.strides, strict=True):
        for name, (at, y) in zip(maps, level, strict=True):
            maps[name][at] = y.roll(-down // stride[0], 1)
    return replace(seen, maps=maps, canonical=seen.canonical + torch.tensor([down, 0]))


def test_ties_of_a_sparse_image(converted):
    """Two equal objects and nothing else: half of all scores are equal to another one."""
    _, model = converted("retinanet")
    x = torch.zeros(1, 3, 64, 64)
    patch = torch.rand(3, 9, 9)
    x[0, :, 3:12, 5:14] = x[0, :, 30:39, 40:49] = patch
    with torch.no_grad():
        found = model(x)[0]
        for t in shifts(8):
            assert first_difference(found, model(moved(x, t))[0], t, (64, 64)) == ""


def test_under_autocast_and_with_hooks(converted):
    _, model = converted("faster")
    model, x, heard = copy.deepcopy(model), torch.rand(1, 3, 64, 64), []
    with torch.no_grad():
        found = model(x)[0]
        model.backbone.register_forward_hook(lambda module, given, output: heard.append(output))
        assert same_detections(found, model(x)[0], (0, 0), (64, 64)) and len(heard) == 1
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x)[0]
            for t in shifts(3):
                assert first_difference(found, model(moved(x, t))[0], t, (64, 64)) == ""


def test_parts_behind_the_maps_can_be_replaced_and_others_not(converted):
    _, model = converted("faster")
    model, x = copy.deepcopy(model), torch.rand(1, 3, 64, 64)
    model.roi_heads.box_predictor = FastRCNNPredictor(1024, 7)
    with torch.no_grad():
        assert mass.certify(model, x, shifts=2)
        model.rpn.head.cls_logits = torch.nn.Conv2d(32, 3, 1)
        with pytest.raises(mass.NotEquivariantError, match="'rpn.head.cls_logits' cannot become Conv2d"):
            model(x)


def test_classes_are_those_of_the_original(converted):
    for kind in KINDS:
        _, model = converted(kind)
        with torch.no_grad():
            labels = model(torch.rand(1, 3, 64, 64))[0]["labels"]
        assert (labels < CLASSES).all() and (labels >= (0 if kind in ("retinanet", "fcos") else 1)).all()


class OffGrid(torch.nn.Module):
    """One box around the brightest pixel; its rounding depends on where that lies."""

    def __init__(self, masks=False):
        super().__init__()
        self.masks = masks

    def forward(self, images):
        found = []
        for image in images:
            index = int(image[0].argmax())
            y, x = index // image.shape[2], index % image.shape[2]
            corner = torch.tensor([x, y], dtype=torch.float32) * (1 + (0 if self.masks else 1e-7))
            box = torch.cat([corner, corner + 8])[None]
            one = {"boxes": box, "labels": torch.ones(1, dtype=torch.int64), "scores": torch.ones(1)}
            found.append(one | ({"masks": torch.full((1, 1, *image.shape[1:]), float(x % 2))} if self.masks else {}))
        return found


def test_boxes_that_lie_between_are_not_certified():
    """What rounding to the grid makes the same is not the same bit by bit."""
    found = mass.detection.certify(OffGrid(), [torch.rand(3, 32, 32)])
    assert not found and "rounded to fractions of a pixel" in found.verdict and "a matter of rounding" in found.verdict


def test_masks_that_change_are_no_rounding():
    found = mass.detection.certify(OffGrid(masks=True), [torch.rand(3, 32, 32)])
    assert not found and "the detector finds something else" in found.verdict


def test_certifying_leaves_the_dense_part_in_its_mode(converted):
    model = copy.deepcopy(converted("retinanet")[1]).train()
    mass.detection.certify(model, torch.rand(1, 3, 64, 64), shifts=1)
    assert model.training and all(module.training for module in model.mass_dense.modules())
    model.eval()


def test_a_copy_of_a_compiled_detector_computes_with_its_own_weights(converted):
    model = copy.deepcopy(converted("retinanet")[1])
    images = torch.rand(1, 3, 64, 64)
    mass.compile(model, backend="eager")
    with torch.no_grad():
        before = model(images)[0]
        zeroed = copy.deepcopy(model)
        for parameter in zeroed.parameters():
            parameter.zero_()
        assert len(before["boxes"]) and not same_detections(before, zeroed(images)[0], (0, 0), (64, 64))
