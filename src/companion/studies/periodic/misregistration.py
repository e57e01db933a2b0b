"""Accuracy against where the camera stands: whole pixels and fractions; an image that wraps, and a window on a longer one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from companion.data.generated.periodic_sets import tested
from companion.data.labelled import Labelled
from companion.measures.accuracy import right_labels

VIEWS = {"wraps": True, "window": False}


def against_misregistration(
    networks: Mapping[str, nn.Module], data: Labelled, steps: Sequence[float], count: int
) -> Iterator[dict[str, Any]]:
    """Rows: method, input ('window 2.5 px'), view, pixels (down and across alike), n, top1."""
    for view, wraps in VIEWS.items():
        for step in steps:
            found = tested(misregistration=(step, step), wraps=wraps)
            images, labels = found.images[:count], (found.labels > 0).long()[:count]
            for method, network in networks.items():
                right = right_labels(network, _batches(images, labels), data.normalize)
                shares = {"n": count, "top1": 100 * right.double().mean().item()}
                yield {"method": method, "input": f"{view} {step:g} px", "view": view, "pixels": step} | shares


def _batches(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(images.split(100), labels.split(100), strict=True)
