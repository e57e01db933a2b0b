"""Which images a plain network changes its mind about when they move."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from companion.data.normalisation import normalize
from mass.functional.shift import shift
from mass.nn.evaluating import evaluating


def changing_labels(
    plain: nn.Module,
    converted: nn.Module,
    images: Sequence[tuple[Tensor, int]],
    moves: Sequence[tuple[int, int]],
    classes: Sequence[str],
    limit: int,
) -> list[dict[str, str]]:
    """The first images, in [0, 1], whose label changes in `plain` under some move: all its labels, and those of `converted`."""
    by = torch.tensor(moves)
    rows: list[dict[str, str]] = []
    with evaluating(plain), evaluating(converted):
        for image, label in images:
            moved = normalize(shift(image.expand(len(moves), -1, -1, -1), by))
            said = {
                name: [classes[i] for i in model(moved).argmax(1)]
                for name, model in (("plain", plain), ("MASS", converted))
            }
            if len(set(said["plain"])) > 1:
                once = {name: ", ".join(dict.fromkeys(names)) for name, names in said.items()}
                rows.append({"true": classes[label], **once})
            if len(rows) == limit:
                break
    return rows
