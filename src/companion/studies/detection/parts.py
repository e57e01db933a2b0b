"""What notebook 14's tables show and its cells leave out (`companion.pipeline.parts`): FastestDet on ImageNet's images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from companion.studies.detection import photographs

_SET = "imagenet-val-1300"


def _imagenet(settings: Any, root: Path, folder: Path) -> list[dict[str, Any]]:
    images = photographs.of_imagenet(settings.images)
    networks = photographs.versions(images[:2, :, : photographs.SIDE, : photographs.SIDE])
    rows, pairs = photographs.fates(networks, images, settings.image_shifts, settings.seed, _SET)
    return [{"stage": "photographs"} | row for row in rows] + [{"stage": "photographs, paired"} | row for row in pairs]


PARTS: dict[str, Callable[[Any, Path, Path], list[dict[str, Any]]]] = {"imagenet": _imagenet}
