"""Where a board's defects are: networks trained on crops, run on nearly whole boards, template and test apart by more and more.

Alarms are peaks of the heat map (companion.studies.periodic.whole). Their threshold is set once, on other boards whose template and
test are in register, so that a board has one false alarm; what is asked is how many defects are found with it, and how many false
alarms a board has, when the two are apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mass
from companion.data.datasets import labelled
from companion.data.published.deeppcb import REACH, DeepPcb, whole
from companion.models.methods import METHODS
from companion.studies.periodic.asked import Rows
from companion.studies.periodic.boards.pairs import APART, WAYS, Way, trained
from companion.studies.periodic.whole import HeatMap, in_pixels
from companion.studies.periodic.worst_case import STRIDE

_NEAR, _FAR = 12, 24  # pixels of the halved board: an alarm so near finds a defect; one farther from all is false
_ASKED, _SET = (
    range(150),
    range(250, 350),
)  # boards of the test list that are asked; of trainval, where no crops are from


@dataclass(frozen=True)
class Alarms:
    """The peaks of a board's heat map.

    Attributes:
        heat: of each, (A,).
        distance: to each of the board's defects, (A, K), in pixels.
        counted: which of these are inside both windows at all distances, (K,) bool.
    """

    heat: Tensor
    distance: Tensor
    counted: Tensor

    def found(self, threshold: float) -> Tensor:
        """Which of the counted defects have an alarm near, bool."""
        near = (self.distance <= _NEAR) & (self.heat > threshold)[:, None]
        return near.any(0)[self.counted]

    @property
    def false(self) -> Tensor:
        """The heat of those that are far from all defects."""
        return self.heat[(self.distance > _FAR).all(1)]


def located(settings: Any, root: Path, folder: Path) -> Rows:
    """Defects found and false alarms, by way, seed and distance; none where this is not run.

    Returns:
        Rows of the stage "boards, located": n, the defects; boards; found, in percent; false_alarms, a board; always, the percentage that is
        found at all distances up to this one.
    """
    rows: Rows = []
    if not settings.pair_epochs:
        return rows
    for name, way in WAYS.items():
        for seed, network in trained(way, settings, root, folder).items():
            about = {
                "dataset": "deeppcb",
                "net": "periodic",
                "method": name,
                "seed": seed,
                "epochs": settings.pair_epochs,
            }
            for row in _located(heater(way, network), way, root):
                rows.append({"stage": "boards, located"} | about | row)
    return rows


def heater(way: Way, network: nn.Module) -> nn.Module:
    """The heat map of trained weights: by origins, or by the fixed grid with zero padding."""
    plain: Any = METHODS["baseline-zero"].build(way.net, 0)
    plain.load_state_dict(network.state_dict())
    channels = plain.conv1.in_channels
    heat = HeatMap(plain).eval()
    return mass.convert(heat, torch.rand(1, channels, 96, 96), verify=False) if way.method == "mass" else heat


def _located(heat: nn.Module, way: Way, root: Path) -> Iterator[dict[str, Any]]:
    others = torch.cat([alarms.false for alarms in _boards(heat, way, root, "trainval", _SET, 0)])
    threshold = others.sort(descending=True).values[min(len(_SET), len(others) - 1)].item()
    always: Tensor | None = None
    for apart in APART:
        asked = list(_boards(heat, way, root, "test", _ASKED, apart))
        found = torch.cat([alarms.found(threshold) for alarms in asked])
        always = found if always is None else always & found
        false = sum(int((alarms.false > threshold).sum()) for alarms in asked)
        yield {"input": f"{apart} px apart", "pixels": apart, "n": len(found), "boards": len(asked)} | {
            "found": 100 * found.double().mean().item(), "always": 100 * always.double().mean().item(),
            "false_alarms": false / len(asked),
        }  # fmt: skip


def _boards(heat: nn.Module, way: Way, root: Path, split: str, which: range, apart: int) -> Iterator[Alarms]:
    boards, normalize = DeepPcb(root, split), labelled(way.data, root).normalize
    for index in which:
        template, test, boxes, _ = boards[index]
        x = normalize(way.prepare(whole(template, test, apart)))
        side = 2 * x.shape[2]
        counted = ((boxes >= REACH) & (boxes <= side)).all(1)
        seen = boxes if way.registers else boxes - apart  # the test's window begins further down and to the right
        yield alarms_of(in_pixels(heat, x), seen / 2, counted)


def alarms_of(heat: Tensor, boxes: Tensor, counted: Tensor) -> Alarms:
    """The peaks of a heat map.

    Args:
        heat: of every pixel, (H, W); minus infinity where no position is (`in_pixels`). boxes: of defects, (K, 4), x1, y1, x2, y2.
        counted: (K,) bool.
    """
    peaks = (heat == F.max_pool2d(heat[None], 2 * STRIDE + 1, 1, STRIDE)[0]) & (heat > -torch.inf)
    rows, columns = peaks.nonzero().unbind(1)
    x, y = columns[:, None], rows[:, None]
    outside = torch.stack((boxes[:, 0] - x, x - boxes[:, 2], boxes[:, 1] - y, y - boxes[:, 3]))  # (4, A, K)
    return Alarms(heat[peaks], outside.amax(0).clamp(min=0), counted)
