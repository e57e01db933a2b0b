"""`convert` of detectors: which of torchvision's are known, and what `mass.convert` makes of them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mass.detection.detectors.detector import TorusDetector
from mass.detection.parts import require_own
from mass.errors import NotEquivariantError
from mass.functional.origin.select import RULES
from mass.fx.convert import convert as convert_network

_MODULE = "torchvision.models.detection"
# torchvision's class, and ours: the module is loaded when one is met, for torchvision is not needed otherwise.
_KNOWN = {
    "retinanet.RetinaNet": ("one_stage", "TorusRetinaNet"),
    "fcos.FCOS": ("one_stage", "TorusFCOS"),
    "ssd.SSD": ("one_stage", "TorusSSD"),
    "mask_rcnn.MaskRCNN": ("two_stage", "TorusMaskRCNN"),
    "keypoint_rcnn.KeypointRCNN": ("two_stage", "TorusKeypointRCNN"),
    "faster_rcnn.FasterRCNN": ("two_stage", "TorusFasterRCNN"),
}


def kind_of(model: nn.Module) -> str:
    """The nearest of torchvision's detectors that a model is an instance of, as 'retinanet.RetinaNet'; '' for no detector."""
    for kind in type(model).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix(f"{_MODULE}.")
        if kind.__module__.startswith(_MODULE) and (name in _KNOWN or name == "generalized_rcnn.GeneralizedRCNN"):
            return name
    return ""


def is_detector(model: nn.Module) -> bool:
    """Whether a model is one of torchvision's detectors, or was converted from one."""
    return isinstance(model, TorusDetector) or bool(kind_of(model))


def convert(
    detector: nn.Module, example_input: Any, *, origin: str = "l2", verify: bool = True, **others: Any
) -> TorusDetector:
    """One of torchvision's detectors, with the same weights, whose detections move along with the image exactly.

    `mass.convert` calls this for detectors. The dense part is converted as any network, the rest is done on the torus
    (mass.detection). Images are not resized: training sizes and anchors are the model's, in pixels of the image it is given.

    Args:
        detector: RetinaNet, FCOS, SSD, SSDLite, Faster, Mask or Keypoint R-CNN; it is not changed.
        example_input: images as the detector takes them, a list of (C, H, W) or a batch (B, C, H, W), of sizes that its total
            stride divides; of a list, the first is taken.
        origin, verify: as of `mass.convert`.

    Returns:
        A copy of the detector's own class and `state_dict` keys, in the same mode.

    Raises:
        NotEquivariantError: naming what cannot be converted; TypeError, ValueError: for a wrong example or option.

    >>> import torch
    >>> from torchvision.models.detection import RetinaNet, anchor_utils, backbone_utils
    >>> backbone = backbone_utils.mobilenet_backbone("mobilenet_v3_small", weights=None, fpn=True)
    >>> anchors = anchor_utils.AnchorGenerator(((16,), (32,), (64,)), ((1.0,),) * 3)
    >>> x = torch.rand(1, 3, 64, 64)
    >>> detector = convert(RetinaNet(backbone, 2, anchor_generator=anchors).eval(), x)
    >>> detector.total_stride, sorted(detector(x)[0])
    ((64, 64), ['boxes', 'labels', 'scores'])
    """
    usual = inspect.signature(convert_network).parameters
    if given := [name for name, value in others.items() if name not in usual or value != usual[name].default]:
        raise ValueError(
            f"{', '.join(given)}: of networks whose outputs are tensors alone; leave it out for a detector."
        )
    if origin not in (*RULES, "zero"):
        raise ValueError(f"unknown origin rule {origin!r}; choose one of {', '.join(RULES)} or zero.")
    return class_for(detector).of(detector, as_example(example_input), origin, verify)


def class_for(detector: nn.Module) -> type[TorusDetector]:
    """What a detector is converted to.

    Raises:
        NotEquivariantError: for a detector of a kind that is not known, or with ways of its own that would not be called;
        ValueError: for a converted one.
    """
    if isinstance(detector, TorusDetector):
        raise ValueError("this detector was converted before; convert the original, once.")  # noqa: TRY004
    name = kind_of(detector)
    if name not in _KNOWN:
        reason = f"{type(detector).__name__} is a detector of a kind that is not known"
        known = ", ".join(kind.partition(".")[2] for kind in _KNOWN)
        raise NotEquivariantError("", reason, f"convert one of {known}, or its backbone alone")
    file, original = name.split(".")
    kind = getattr(importlib.import_module(f"{_MODULE}.{file}"), original)
    file, result = _KNOWN[name]
    ours = getattr(importlib.import_module(f"mass.detection.detectors.{file}"), result)
    require_own(detector, kind, ours, ours.mass_called)
    for part in ours.mass_parts:
        part.check(detector)
    return ours


def as_example(value: Any) -> Tensor:
    """A batch of images of one size."""
    if isinstance(value, tuple) and value and isinstance(value[0], Sequence | Tensor):
        value = value[0] if not isinstance(value[0], Tensor) or value[0].ndim == 4 else list(value)
    if isinstance(value, Sequence) and value and isinstance(value[0], Tensor):
        value = value[0][None]
    if not isinstance(value, Tensor) or value.ndim != 4:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        hint = (
            "; for a single image give a list of it, [image]" if isinstance(value, Tensor) and value.ndim == 3 else ""
        )
        raise TypeError(
            f"expected example images, a list of tensors (C, H, W) or a batch (B, C, H, W), got {got}{hint}."
        )
    if not value.is_floating_point() or 0 in value.shape:
        raise TypeError(f"expected floating-point images that are not empty, got {value.dtype}, {tuple(value.shape)}.")
    return value.detach()
