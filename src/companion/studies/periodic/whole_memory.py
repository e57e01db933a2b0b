"""What tiles cost in memory, and the whole: `python -m companion.studies.periodic.whole_memory MASS 2048` prints megabytes.

The peak of one heat map of an image of that side, or, for "tiles", of one training step of 16 images of 64 x 64; each in a process
of its own. Memory does not depend on the weights, which are random here.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from companion.data.generated.periodic_sets import SIDE
from companion.measures.memory import grown, printed_by
from companion.models.methods import METHODS
from companion.studies.periodic.whole import heat_map

_METHODS = {"Baseline": "baseline", "MASS": "mass"}
_TILES = 16


def peak_memory(sides: tuple[int, ...]) -> list[dict[str, Any]]:
    """Rows: method, input ("training step, 16 tiles", "heat map, 2048 x 2048"), megapixels, peak_mb, of the pass alone; none for no sides."""
    rows = []
    for method in _METHODS if sides else ():
        for side in (0, *sides):
            peak = float(printed_by(__name__, method, str(side or "tiles")))
            pixels = side**2 or _TILES * SIDE**2
            asked = f"heat map, {side} x {side}" if side else f"training step, {_TILES} tiles"
            rows.append({"method": method, "input": asked, "megapixels": pixels / 1e6, "peak_mb": peak})
    return rows


def _peak(method: str, side: str) -> float:
    tiles, whole = torch.randn(_TILES, 1, SIDE, SIDE), side != "tiles"
    network = METHODS["baseline-zero" if whole else _METHODS[method]].build("periodic", 0)
    if whole:
        network = heat_map(network, tiles, method)
    x = torch.randn(1, 1, int(side), int(side)) if whole else tiles

    def step(images: Tensor) -> None:
        with torch.set_grad_enabled(not whole):
            found = network(images)
            if not whole:
                F.cross_entropy(found, torch.zeros(len(images), dtype=torch.long)).backward()

    step(tiles[:2])  # libraries allocate at their first call
    return grown(lambda: step(x))


if __name__ == "__main__":
    print(_peak(*sys.argv[1:]))
