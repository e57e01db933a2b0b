"""MASS: model-agnostic shift-equivariant downsampling.

    import mass
    model = mass.convert(model, example_input)      # exactly equivariant to circular shifts, same weights
    print(mass.certify(model, images))              # the proof, on your images

One idea runs through the library: an operation of period P becomes equivariant when it is applied to a map moved to an
origin that is read off the map itself, `y = f(shift(x, select_origin(x, P)))`.
"""

from .baselines import APS
from .certify import Certificate, certify
from .convert import convert
from .errors import NotEquivariantError
from .explain import Explanation, explain
from .layers import MassAvgPool2d, MassConv2d, MassMaxPool2d, MassPool2d
from .metrics import PROTOCOLS, Protocol, circular_consistency, consistency, segmentation_consistency
from .origin import RULES, margin, select_origin
from .shift import restore, shift
from .trace import mark_leaf
from .unpool import MassMaxUnpool2d

__all__ = [
    "APS",
    "PROTOCOLS",
    "RULES",
    "Certificate",
    "Explanation",
    "MassAvgPool2d",
    "MassConv2d",
    "MassMaxPool2d",
    "MassMaxUnpool2d",
    "MassPool2d",
    "NotEquivariantError",
    "Protocol",
    "certify",
    "circular_consistency",
    "consistency",
    "convert",
    "explain",
    "margin",
    "mark_leaf",
    "restore",
    "segmentation_consistency",
    "select_origin",
    "shift",
]
