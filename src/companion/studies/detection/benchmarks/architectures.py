"""torchvision's detectors with random weights: which convert, and then find the same sets wherever the image lies.

    python -m companion.studies.detection.benchmarks.architectures                  # all of them; resumable
    python -m companion.studies.detection.benchmarks.architectures FCOS MaskRCNN
    make publish PROFILE=bench                                                      # to results/detectors.json and the README

A ResNet-18 with a feature pyramid below all but SSD, which has its VGG16, and SSDLite, which has its MobileNetV3; five classes, images of noise. Statistics
of the batch normalisations, where there are any, are taken from noise, so that something comes of random weights. A row: of n pairs of an image and a circular shift, how many gave
a bit-identical set of detections, moved back by whole pixels, as torchvision has it and converted, and converted in float64; and how long a forward pass of
the converted detector takes, as a multiple of torchvision's, in CPU time, passes taking turns. What is there already is not measured again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.keypoint_rcnn import KeypointRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNN

import mass
from companion.core.bench import run_bench
from companion.core.command_line import names_given
from companion.core.records import Record
from companion.measures.shifts import random_shifts
from mass.detection import same_detections

CLASSES, SIDE, IMAGES, SHIFTS, PASSES = 5, 128, 2, 4, 5
LARGE = {"SSD": 320, "SSDLite": 512}  # pixels, that their six levels need; all others take SIDE


def _pyramid(**more: Any) -> nn.Module:
    return resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5, **more
    )


def _two_stages(kind: type[nn.Module], **more: Any) -> nn.Module:
    return kind(_pyramid(), CLASSES, min_size=SIDE, max_size=SIDE, box_detections_per_img=20, **more)


# Thresholds are low: scores of random weights are.
DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "RetinaNet": lambda: detection.RetinaNet(
        _pyramid(returned_layers=[2, 3, 4]), CLASSES, min_size=SIDE, max_size=SIDE, score_thresh=0.001, detections_per_img=20,
        anchor_generator=_anchors(),
    ),
    "FCOS": lambda: detection.FCOS(
        _pyramid(returned_layers=[2, 3, 4]), CLASSES, min_size=SIDE, max_size=SIDE, score_thresh=0.01, detections_per_img=20,
        anchor_generator=_anchors(ratios=(1.0,)),
    ),
    "SSD": lambda: _of_size(_ssd(), LARGE["SSD"]),
    "SSDLite": lambda: _of_size(
        detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=CLASSES, detections_per_img=20, norm_layer=nn.BatchNorm2d
        ),
        LARGE["SSDLite"],
    ),
    "FasterRCNN": lambda: _two_stages(detection.FasterRCNN),
    "MaskRCNN": lambda: _two_stages(MaskRCNN),
    "KeypointRCNN": lambda: _two_stages(KeypointRCNN, num_keypoints=5),
}  # fmt: skip


def _anchors(ratios: tuple[float, ...] = (0.5, 1.0, 2.0)) -> Any:
    return detection.anchor_utils.AnchorGenerator(tuple((side,) for side in (16, 32, 64, 128)), (ratios,) * 4)


def _ssd() -> nn.Module:
    """torchvision's SSD300, its VGG16's first blocks a quarter as wide: they take most of the time."""
    model: Any = detection.ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=CLASSES, detections_per_img=20, score_thresh=0.001
    )
    inputs = 3
    for k, layer in enumerate(blocks := model.backbone.features):
        if isinstance(layer, nn.Conv2d):
            outputs = layer.out_channels // 4 if k < 17 else layer.out_channels
            blocks[k] = nn.Conv2d(inputs, outputs, 3, padding=1)
            inputs = outputs
    return model


def _of_size(model: Any, side: int) -> nn.Module:
    """One that takes images of another size as they are."""
    model.transform.fixed_size, model.transform.min_size, model.transform.max_size = (side, side), (side,), side
    return model


def calibrated(model: nn.Module) -> nn.Module:
    """In eval mode, statistics of its batch normalisations taken from noise."""
    backbone: Any = model.backbone
    if any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules()):
        backbone.train()
        with torch.no_grad():
            for _ in range(5):
                backbone(torch.randn(2, 3, SIDE, SIDE))
    return model.eval()


def measure(name: str) -> Record:
    """One row: what became of a detector."""
    started = time.monotonic()
    torch.manual_seed(0)
    model = calibrated(DETECTORS[name]())
    side = LARGE.get(name, SIDE)
    images = torch.rand(IMAGES, 3, side, side)
    row: Record = {"model": name, "seed": 0, "size": side, "n": IMAGES * SHIFTS}
    plain, _ = _identical(model, images)
    try:
        converted: Any = mass.convert(model, images)
    except mass.NotEquivariantError as refusal:
        took = round(time.monotonic() - started, 1)
        return row | {"converts": False, "reason": str(refusal), "plain_identical": plain, "found": 0.0, "took": took}
    identical, found = _identical(converted, images)
    ratio = _time_ratio(converted, model, images)
    double, _ = _identical(converted.double(), images.double())
    return row | {
        "converts": True,
        "reason": "",
        "total_stride": "x".join(map(str, converted.total_stride)),
        "found": found,
        "plain_identical": plain,
        "identical": identical,
        "identical_float64": double,
        "time_ratio": ratio,
        "took": round(time.monotonic() - started, 1),
    }


def _time_ratio(converted: nn.Module, plain: nn.Module, images: Tensor) -> float:
    """Of median CPU times of forward passes that take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for _ in range(PASSES):
            for model, own in zip((converted, plain), times, strict=True):
                began = time.process_time()
                model(list(images))
                own.append(time.process_time() - began)
    return median(times[0]) / median(times[1])


def _identical(model: nn.Module, images: Tensor) -> tuple[float, float]:
    """The percentage of shifts and images with the same set, and how many detections an image has."""
    size = (images.shape[2], images.shape[3])
    with torch.no_grad():
        still = model(list(images))
        same = [
            same_detections(one, other, by, size)
            for by in random_shifts(size, SHIFTS)
            for one, other in zip(still, model(list(mass.shift(images, torch.tensor(by)))), strict=True)
        ]
    return 100 * sum(same) / len(same), sum(len(one["scores"]) for one in still) / len(still)


def _told(row: Record) -> str:
    told = f"{row.get('identical', 0):.0f}% identical, plain {row['plain_identical']:.0f}%, {row['found']:.1f} found"
    return row["reason"] or told


def main() -> None:
    names = names_given(__doc__, DETECTORS) or DETECTORS
    keys = {name: {"model": name, "size": LARGE.get(name, SIDE), "seed": 0} for name in names}
    run_bench("detectors", ((key, partial(measure, name)) for name, key in keys.items()), _told)


if __name__ == "__main__":
    main()
