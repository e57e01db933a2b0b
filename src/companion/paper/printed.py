"""What the paper states: Table 2 as data.

The paper is *MASS: Model-Agnostic Shift-Equivariant Downsampling*, an anonymous submission (ICLR 2024, no. 9459). In the
copy at hand the bodies of Tables 3, 4 and 5 are lost; what its text says of them is held against records sentence by sentence
(companion.studies.paper_and_errata.claims), and nothing is filled in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """A printed value, in percent: mean and standard deviation over the paper's runs, and a doubt about it, if any."""

    mean: float
    std: float | None = None
    doubt: str = ""

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        return f"{self.mean:.2f}{spread}{' (?)' if self.doubt else ''}"


@dataclass(frozen=True)
class Row:
    """A row of Table 2 for one network: accuracy and circular consistency of one method."""

    method: str
    network: str
    accuracy: Cell
    consistency: Cell


RUNS = 5  # independent runs behind each value of Table 2
BASELINE = "Baseline"

_TWICE = "91.20 ± 0.32 stands in two cells; they cannot both be measurements"
_ALWAYS = Cell(100.0)
_PRINTED: dict[str, tuple[Any, ...]] = {
    BASELINE: ((90.47, 0.30), (91.85, 0.23), Cell(90.94, 0.45), Cell(91.20, 0.32, _TWICE)),
    "APS": ((91.79, 0.21), (94.58, 0.07), _ALWAYS, _ALWAYS),
    "MASS": ((92.03, 0.19), (94.94, 0.07), _ALWAYS, _ALWAYS),
    "LPF-3": ((92.05, 0.18), (94.44, 0.15), Cell(91.20, 0.32, _TWICE), Cell(96.09, 0.34)),
    "APS-LPF-3": ((92.20, 0.21), (94.61, 0.07), _ALWAYS, _ALWAYS),
    "MASS-LPF-3": ((92.26, 0.22), (94.85, 0.10), _ALWAYS, _ALWAYS),
    "DDAC-3": ((90.64, 0.21), (94.40, 0.24), Cell(95.26, 0.18), Cell(97.21, 0.07)),
    "APS-DDAC-3": ((92.36, 0.14), (94.63, 0.06), _ALWAYS, _ALWAYS),
    "MASS-DDAC-3": ((92.53, 0.17), (94.80, 0.14), _ALWAYS, _ALWAYS),
}  # method: accuracy of ResNet-20 and ResNet-18, consistency of ResNet-20 and ResNet-18

NETWORKS = {"ResNet-20": "resnet20", "ResNet-18": "resnet18"}  # as printed, as in records
METHODS = tuple(_PRINTED)
TABLE_2 = tuple(
    Row(method, network, Cell(*printed[k]), printed[k + 2])
    for k, network in enumerate(NETWORKS)
    for method, printed in _PRINTED.items()
)
