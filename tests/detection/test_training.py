"""Losses of converted detectors: the original's with circular borders, and the same wherever image and targets lie."""

import copy

import pytest
import torch

pytest.importorskip("torchvision")
from small_detectors import KINDS, build, circular

import mass
from mass.detection import shift_boxes

TRAINED = [kind for kind in KINDS if kind != "ssd"]  # whose plain self needs images of 300 pixels
SIZE = 64, 64
WHOLE = ("retinanet", "fcos", "ssdlite")


def some_targets(kind, sizes=((64, 64), (64, 64)), middle=False, dtype=torch.float64):
    """Targets of each image: two objects, with masks and keypoints; the first goes on at the other side unless in the middle."""
    targets = []
    for k, (height, width) in enumerate(sizes):
        boxes = (
            torch.tensor([[20.0, 22, 34, 33], [38, 30, 49, 45]])
            if middle
            else torch.tensor([[58.0, 50, 75, 69], [10, 12, 24, 20]])
        )
        boxes = boxes.to(dtype) + k
        target = {"boxes": boxes, "labels": torch.tensor([1, 1 if kind == "keypoint" else 3 - k])}
        masks = torch.zeros(2, height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
            rows, columns = torch.arange(y1 + 1, y2) % height, torch.arange(x1 + 2, x2) % width
            mask[rows[:, None], columns] = 1
        steps = torch.linspace(0.1, 0.9, 5, dtype=dtype)[None, :, None]
        points = boxes[:, None, :2] + steps * (boxes[:, None, 2:] - boxes[:, None, :2])
        target["masks"], target["keypoints"] = masks, torch.cat([points, torch.ones_like(points[..., :1])], -1).float()
        targets.append(target)
    return targets


def shifted(targets, t, sizes=((64, 64), (64, 64))):
    result = []
    for target, size in zip(targets, sizes, strict=True):
        boxes = shift_boxes(target["boxes"], t, size)
        by = (boxes - target["boxes"])[:, None, :2]
        points = torch.cat([(target["keypoints"][..., :2] + by).float(), target["keypoints"][..., 2:]], -1)
        masks = target["masks"].roll((-t[0], -t[1]), (1, 2))
        result.append({**target, "boxes": boxes, "keypoints": points, "masks": masks})
    return result


def losses(model, images, targets, seed=0):
    torch.manual_seed(seed)
    return model.train()(images, copy.deepcopy(targets))


@pytest.fixture(scope="module")
def trained():
    made = {}

    def of(kind):
        if kind not in made:
            plain = build(kind).double()
            made[kind] = plain, mass.convert(plain, torch.rand(2, 3, 64, 64).double(), verify=False)
        plain, model = made[kind]
        return plain, copy.deepcopy(model)

    return of


@pytest.mark.parametrize("kind", TRAINED)
def test_losses_are_the_original_s_with_circular_borders(kind):
    dtype = torch.float64 if kind in WHOLE else torch.float32  # torchvision's losses of proposals are float32's alone
    plain = build(kind).to(dtype)
    model = mass.convert(plain, torch.rand(2, 3, 64, 64).to(dtype), origin="zero", verify=False)
    images, targets = list(torch.rand(2, 3, 64, 64).to(dtype)), some_targets(kind, middle=True, dtype=dtype)
    other = circular(plain)
    ours, theirs = losses(model, images, targets), losses(other, images, targets)
    assert set(ours) == set(theirs)
    compared = set(ours) if kind in WHOLE else {"loss_objectness", "loss_rpn_box_reg"}  # proposals meet sides
    for name in compared:
        assert torch.allclose(ours[name], theirs[name], rtol=1e-4), (name, ours[name], theirs[name])
    sum(ours[name] for name in compared).backward()
    sum(theirs[name] for name in compared).backward()
    largest = max(float(p.grad.abs().max()) for p in other.parameters() if p.grad is not None)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        if b.grad is not None:
            assert torch.allclose(a.grad, b.grad, rtol=1e-2, atol=1e-5 * largest), name


@pytest.mark.parametrize("kind", ["faster", "mask", "keypoint"])
def test_losses_of_windows_are_the_original_s(kind):
    """Of proposals that meet no side, and the same draw of samples."""
    plain = build(kind).train()
    model = mass.convert(plain, torch.rand(2, 3, 64, 64), origin="zero", verify=False).train()
    targets = some_targets(kind, middle=True, dtype=torch.float32)
    seen = model._see(list(torch.rand(2, 3, 64, 64)))
    proposals = [target["boxes"] + torch.tensor([1.0, -0.5, 1.5, 1.0]) for target in targets]
    features = {name: torch.stack([one.maps["features"][name] for one in seen]) for name in seen[0].maps["features"]}
    torch.manual_seed(0)
    ours = model._window_losses(seen, targets, list(proposals))
    torch.manual_seed(0)
    _, theirs = plain.roi_heads(features, list(proposals), [SIZE] * 2, targets)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_the_same_wherever_image_and_targets_lie(kind, trained):
    _, model = trained(kind)
    images, targets = torch.rand(2, 3, 64, 64).double(), some_targets(kind)
    first = losses(model, images, targets)
    sum(first.values()).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert all(float(value.detach()) > 0 for value in first.values())
    for t in ((17, 40), (63, 5))[: 1 if kind == "ssd" else 2]:
        model.zero_grad()
        again = losses(model, mass.shift(images, torch.tensor([t, t])), shifted(targets, t))
        assert set(again) == set(first)
        for name in first:
            assert torch.allclose(first[name].double(), again[name].double(), rtol=1e-5), (name, t)
        sum(again.values()).backward()
        for name, p in model.named_parameters():
            if name in gradients:
                scale = float(gradients[name].abs().max())
                assert torch.allclose(gradients[name], p.grad, rtol=1e-4, atol=1e-5 * scale + 1e-9), name


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssdlite", "mask"])
def test_images_of_several_sizes_and_without_objects(kind, trained):
    _, model = trained(kind)
    sizes = (64, 64), (128, 64), (64, 64)
    images = [torch.rand(3, *size).double() for size in sizes]
    targets = some_targets(kind, sizes)
    targets[2] = {name: value[:0] for name, value in targets[2].items()}
    found = losses(model, images, targets)
    assert all(bool(value.isfinite()) for value in found.values())
    sum(found.values()).backward()
    none = [{name: value[:0] for name, value in target.items()} for target in targets]
    assert all(bool(value.isfinite()) for value in losses(model, images, none).values())


def test_training_and_back(trained):
    """A step of training changes what is found afterwards, and that moves along as before."""
    _, model = trained("retinanet")
    model = model.float()
    images, targets = torch.rand(2, 3, 64, 64), some_targets("retinanet", dtype=torch.float32)
    before = model.eval()(images)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    start = sum(losses(model, images, targets).values())
    for _ in range(3):
        optimiser.zero_grad()
        total = sum(losses(model, images, targets).values())
        total.backward()
        optimiser.step()
    assert total < start
    certificate = mass.certify(model.eval(), images, shifts=3)
    assert certificate, certificate
    assert not mass.detection.same_detections(before[0], model(images)[0], (0, 0), (64, 64))
