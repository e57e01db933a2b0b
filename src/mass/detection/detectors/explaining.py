"""`mass.explain` of detectors: what of a detector depends on where an image lies, and what is done about it."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from mass.detection.detectors.converting import as_example, class_for
from mass.fx.explain import COLUMNS, Explanation
from mass.fx.explain import explain as explain_network

_CANONICAL = "whole map", "canonical"


def explain(detector: nn.Module, example_input: Any) -> Explanation:
    """What `mass.convert` would change of a detector: its dense part's operations, then all that follows in the canonical position.

    Args: as `mass.detection.convert`.

    Raises:
        NotEquivariantError: where it would not be converted at all; refusals of single operations are rows.
    """
    ours, given = class_for(detector), as_example(example_input)
    model: Any = copy.deepcopy(detector)
    found = explain_network(ours.dense_part(model), model.transform.normalize(given))
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in _behind(detector)]
    steps = f"{len(rows)} steps around them, on a torus, in a canonical position that is read off the image"
    return Explanation([*found.rows, *rows], f"{found.summary} {steps}.", found.convertible)


def _behind(detector: Any) -> list[tuple[str, ...]]:
    """What a detector does with images before, and with maps behind its dense part."""
    rpn, heads = getattr(detector, "rpn", None), getattr(detector, "roi_heads", None)
    generator = detector.anchor_generator if rpn is None else rpn.anchor_generator
    where = "rpn." if rpn is not None else ""
    rows: list[tuple[str, ...]] = [
        ("transform", type(detector.transform).__name__, "", "", "normalises alone", "resizes, pads with zeros"),
        (
            f"{where}anchor_generator",
            type(generator).__name__,
            *_CANONICAL,
            "laid at each map's origin, decoded relative to it",
            "starts at the image's corner",
        ),
        (f"{where}boxes", "clip_boxes_to_image", *_CANONICAL, "wrap", "cuts boxes at the image's sides"),
        (f"{where}top-k", "topk", *_CANONICAL, "ties by canonical place", "ties by index"),
        (
            f"{where}suppression",
            "batched_nms",
            *_CANONICAL,
            "overlaps on the torus",
            "ties by index, rounds by position",
        ),
    ]
    for name in ("box", "mask", "keypoint"):
        pool = getattr(heads, f"{name}_roi_pool", None)
        if pool is not None:
            reads = "reads around the border", "reads zeros outside"
            rows.append((f"roi_heads.{name}_roi_pool", type(pool).__name__, *_CANONICAL, *reads))
    if heads is not None:
        rows.append(
            (
                "roi_heads.suppression",
                "batched_nms",
                *_CANONICAL,
                "overlaps on the torus",
                "ties by index, rounds by position",
            )
        )
        if heads.has_mask():
            rows.append(
                ("masks", "paste_masks_in_image", *_CANONICAL, "pasted around the border", "cut at the image's sides")
            )
        if heads.has_keypoint():
            rows.append(
                ("keypoints", "heatmaps_to_keypoints", *_CANONICAL, "relative to their box", "rounds by position")
            )
    return rows
