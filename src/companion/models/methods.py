"""The methods of Tables 2 and 5, and the controls that they lack, by name: each a network and how it is trained.

Every method starts from the same zero-padded network and is made by a conversion, so that two methods differ in
nothing but the method; with one seed they also start from the same weights (DDAC's filters draw theirs in between, so
the three methods with DDAC start alike among themselves).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

import mass
from companion.models.cifar_resnets import CIFAR_NETS
from companion.models.deeplab import SEGMENTERS
from mass.baselines import convert_to_aps, convert_to_lps
from mass.layers import SelectOrigin

NETS = CIFAR_NETS | SEGMENTERS


def channels_of(model: nn.Module) -> int:
    """How many channels its pictures have."""
    return next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))


@dataclass(frozen=True)
class Method:
    """How a network samples, and what is done before that.

    Attributes:
        printed: the name in Table 2, or ours where it has none.
        sampling: 'zero' padding as it came; the 'frame' grid, borders circular; 'aps', 'lps' or 'mass'.
        filtering: the anti-aliasing filter, a key of `companion.models.antialias.FILTERS`.
        place: of the filter.
        shifts: whether training pictures are shifted circularly, at random.
    """

    printed: str
    sampling: str
    filtering: str | None = None
    place: str = "after"
    shifts: bool = False

    def build(self, net: str, seed: int, weights: dict[str, torch.Tensor] | None = None) -> nn.Module:
        """A network for pictures of any size that its stride divides.

        Args:
            net: a key of `NETS`.
            seed: of its first weights.
            weights: to start from instead, those of such a network, or of a segmenter's encoder.
        """
        torch.manual_seed(seed)
        model = NETS[net](self.filtering, self.place, weights)
        return self.convert(model, torch.zeros(2, channels_of(model), 64, 64))

    def convert(self, model: nn.Module, example: torch.Tensor) -> nn.Module:
        """A plain network, its weights included, as one of this method."""
        if self.sampling == "aps":
            return convert_to_aps(model, example)
        if self.sampling == "lps":
            return convert_to_lps(model, example)
        if self.sampling in ("frame", "mass"):
            # What conversion promises of these networks is proved in tests, not at every start.
            return mass.convert(model, example, origin="zero" if self.sampling == "frame" else "l2", verify=False)
        return model

    def with_rule(self, model: nn.Module, rule: str) -> nn.Module:
        """A copy of a network made by this method that chooses its origins by another rule of `mass.RULES`."""
        changed = copy.deepcopy(model)
        for module in changed.modules():
            if isinstance(module, SelectOrigin):
                module.rule = rule
        return changed


METHODS = {
    "baseline": Method("Baseline", "frame"),
    "aps": Method("APS", "aps", "lpf1"),
    "mass": Method("MASS", "mass"),
    "lpf3": Method("LPF-3", "frame", "lpf3"),
    "aps-lpf3": Method("APS-LPF-3", "aps", "lpf3"),
    "mass-lpf3": Method("MASS-LPF-3", "mass", "lpf3"),
    "ddac3": Method("DDAC-3", "frame", "ddac3"),
    "aps-ddac3": Method("APS-DDAC-3", "aps", "ddac3"),
    "mass-ddac3": Method("MASS-DDAC-3", "mass", "ddac3"),
    # What the table lacks.
    "lps": Method("LPS", "lps", "lpf1"),
    "baseline-shifts": Method("Baseline, shifts in training", "frame", shifts=True),
    "baseline-zero": Method("Baseline, zero padding", "zero"),
    "mass-lpf3-before": Method("MASS-LPF-3, filter first", "mass", "lpf3", "before"),
    "mass-ddac3-before": Method("MASS-DDAC-3, filter first", "mass", "ddac3", "before"),
}
