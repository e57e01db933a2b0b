"""The methods of Tables 2 and 5, and the controls that they lack, by name: each a network and how it is trained.

Every method starts from the same zero-padded network and is made by a conversion, so that two methods differ in
nothing but the method; with one seed they also start from the same weights (DDAC's filters draw theirs in between, so
the three methods with DDAC start alike among themselves).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import mass
from companion.models.antialias import DESCRIPTIONS
from companion.models.cifar_resnets import CIFAR_NETS
from companion.models.deeplab import SEGMENTERS
from companion.models.detectors.dense_detector import DETECTORS
from companion.models.detectors.mask_rcnn import mask_rcnn
from companion.models.implicit.ien_nets import IEN_NETS
from companion.models.implicit.steerable import SteerableNet
from companion.models.mobilenet import MOBILENETS
from mass.baselines.aps import convert_to_aps
from mass.baselines.ddac import DDAC2d
from mass.baselines.lps import PolyphaseScores, convert_to_lps
from mass.nn.blurpool import BlurPool
from mass.nn.graph.alignment import SelectOrigin

NETS = CIFAR_NETS | MOBILENETS | SEGMENTERS | IEN_NETS | DETECTORS | {"mask-rcnn-vias": mask_rcnn}


def channels_of(model: nn.Module) -> int:
    """How many channels its images have."""
    return next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d | SteerableNet))


@dataclass(frozen=True)
class Sampling:
    """Where a network samples, in words, and the conversion of a plain one (and an example) that makes it so."""

    description: str
    convert: Callable[[nn.Module, Tensor], nn.Module]


def _by_origin(rule: str) -> Callable[[nn.Module, Tensor], nn.Module]:
    # What conversion promises of these networks is verified in tests, not at every start.
    return lambda model, example: mass.convert(model, example, origin=rule, verify=False)


def _antialiased(kernel_size: int) -> Callable[[nn.Module, Tensor], nn.Module]:
    return lambda model, example: mass.antialias(model, example, kernel_size, verify=False)


def _mass_over_antialiasing(model: nn.Module, example: Tensor) -> nn.Module:
    return mass.convert(mass.antialias(model, example, verify=False), example, verify=False)


def _aps_before_the_filter(model: nn.Module, example: Tensor) -> nn.Module:
    """APS as in its authors' CIFAR-10 code, where a filter does not see to the choice: the index is read off what it filters."""
    converted: Any = convert_to_aps(model, example)
    for node in converted.graph.nodes:
        if node.op == "call_module" and str(node.target).startswith("mass_origin_"):
            (read,) = node.args
            if read.op == "call_module" and isinstance(converted.get_submodule(str(read.target)), BlurPool | DDAC2d):
                node.args = read.args
    converted.recompile()
    made: nn.Module = converted
    return made


SAMPLINGS = {
    "zero": Sampling("fixed grid, zero padding", lambda model, example: model),
    "frame": Sampling("fixed grid, circular padding", _by_origin("zero")),
    "aps": Sampling("APS: the output's largest phase", convert_to_aps),
    "aps-before": Sampling("APS: the largest phase before the filter", _aps_before_the_filter),
    "lps": Sampling("LPS: a learned phase of the output", convert_to_lps),
    "mass": Sampling("MASS: an origin for the input", _by_origin("l2")),
    **{
        f"blur{size}": Sampling(f"fixed grid, zero padding, behind filters {size} wide", _antialiased(size))
        for size in (2, 3, 5)
    },
    "mass-blur": Sampling("MASS: an origin for the input, behind filters 3 wide", _mass_over_antialiasing),
}


@dataclass(frozen=True)
class Method:
    """How a network samples, and what is done before that.

    Attributes:
        printed: the name in Table 2, or ours where it has none.
        colour: in every figure; no two methods share one.
        sampling: a key of `SAMPLINGS`.
        filtering: the anti-aliasing filter, a key of `companion.models.antialias.FILTERS`.
        place: of the filter.
        shifts: whether training images are shifted circularly, at random.
        transferred: its name where a network that others trained is converted.
        temperatures: of LPS's Gumbel-softmax, in the first epoch and in the last, and between them on one line, where its
            authors' falls in three pieces (mass.baselines.lps); its scoring networks are then spared weight decay, as theirs are.
    """

    printed: str
    colour: str
    sampling: str
    filtering: str | None = None
    place: str = "after"
    shifts: bool = False
    transferred: str = ""
    temperatures: tuple[float, float] | None = None

    def prepare_epoch(self, model: nn.Module, epoch: int, epochs: int) -> None:
        """Set what changes from epoch to epoch: the temperature falls linearly from the first epoch to the last."""
        if self.temperatures is not None:
            first, last = self.temperatures
            for module in model.modules():
                if isinstance(module, PolyphaseScores):
                    module.temperature = first + (last - first) * epoch / max(epochs - 1, 1)

    def spared(self, name: str) -> bool:
        """Whether a parameter is spared weight decay."""
        return self.temperatures is not None and "mass_origin_" in name

    @property
    def description(self) -> dict[str, str]:
        """What it is, in words."""
        place = f", {'before' if self.place == 'before' else 'behind'} the convolution"
        blur = DESCRIPTIONS[self.filtering] + (place if self.filtering not in (None, "lpf1") else "")
        return {"sampling grid": SAMPLINGS[self.sampling].description, "anti-aliasing filter": blur}

    def build(self, net: str, seed: int, weights: dict[str, Tensor] | None = None) -> nn.Module:
        """A network for images of any size that its stride divides.

        Args:
            net: a key of `NETS`.
            seed: of its first weights.
            weights: to start from instead, those of such a network, or of a segmenter's encoder.
        """
        torch.manual_seed(seed)
        model = NETS[net](self.filtering, self.place, weights)
        return self.convert(model, torch.zeros(2, channels_of(model), 64, 64))

    def convert(self, model: nn.Module, example: Tensor) -> nn.Module:
        """A plain network, its weights included, as one of this method."""
        return SAMPLINGS[self.sampling].convert(model, example)

    def with_rule(self, model: nn.Module, rule: str) -> nn.Module:
        """A copy of a network made by this method that chooses its origins by another rule of `mass.RULES`."""
        changed = copy.deepcopy(model)
        for module in changed.modules():
            if isinstance(module, SelectOrigin):
                module.rule = rule
        return changed


# The fixed grid is grey and ochre, APS purple, MASS blue; what a filter or a training changes is a shade of it.
METHODS = {
    "baseline": Method("Baseline", "#c98b2f", "frame", transferred="circular padding"),
    "aps": Method("APS", "#7a5aa6", "aps", "lpf1", transferred="APS"),
    "mass": Method("MASS", "#1f77b4", "mass", transferred="MASS"),
    "lpf3": Method("LPF-3", "#e0703a", "frame", "lpf3"),
    "aps-lpf3": Method("APS-LPF-3", "#b295d4", "aps", "lpf3"),
    "mass-lpf3": Method("MASS-LPF-3", "#6baed6", "mass", "lpf3"),
    "ddac3": Method("DDAC-3", "#b8a11c", "frame", "ddac3"),
    "aps-ddac3": Method("APS-DDAC-3", "#4b2e83", "aps", "ddac3"),
    "mass-ddac3": Method("MASS-DDAC-3", "#0b3c6f", "mass", "ddac3"),
    # What the table lacks.
    "lps": Method("LPS", "#2e8b57", "lps", "lpf1"),
    "lps-annealed": Method("LPS, annealed", "#8fbc5a", "lps", "lpf1", temperatures=(1.0, 0.01)),
    "aps-lpf3-cifar": Method("APS-LPF-3, index before the filter", "#c77ccf", "aps-before", "lpf3"),
    "baseline-shifts": Method("Baseline, shifts in training", "#7f4f24", "frame", shifts=True),
    "baseline-zero": Method("Baseline, zero padding", "#8a8a8a", "zero", transferred="plain"),
    "mass-lpf3-before": Method("MASS-LPF-3, filter first", "#17becf", "mass", "lpf3", "before"),
    # Zhang's (2019): the filter at every stride of the plain network, alone and under MASS; with shifts in training, and without.
    "blur2": Method("anti-aliased, Rect-2", "#f4a582", "blur2"),
    "blur": Method("anti-aliased", "#d6604d", "blur3", transferred="anti-aliased"),
    "blur5": Method("anti-aliased, Bin-5", "#b2182b", "blur5"),
    "mass-blur": Method("MASS over anti-aliasing", "#2c5f8a", "mass-blur", transferred="MASS over anti-aliasing"),
    "baseline-zero-shifts": Method("Baseline, zero padding, shifts in training", "#4d4d4d", "zero", shifts=True),
    "blur-shifts": Method("anti-aliased, shifts in training", "#8c2d1c", "blur3", shifts=True),
    "mass-shifts": Method("MASS, shifts in training", "#123a63", "mass", shifts=True),
    "mass-blur-shifts": Method("MASS over anti-aliasing, shifts in training", "#33a3c7", "mass-blur", shifts=True),
    "mass-ddac3-before": Method("MASS-DDAC-3, filter first", "#0e7c86", "mass", "ddac3", "before"),
}
