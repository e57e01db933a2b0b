"""MASS: model-agnostic shift-equivariant downsampling.

    import mass
    model = mass.convert(model, example_input)      # exactly equivariant to circular shifts, same weights
    print(mass.certify(model, images))              # bit by bit, on your images

One idea runs through the library: an operation of period P becomes equivariant when it is applied to a map moved to an
origin that is read off the map itself, `y = f(shift(x, select_origin(x, P)))`.
"""

from mass import baselines as baselines  # mass.baselines.…, mass.detection.…, mass.onnx.…
from mass import detection as detection
from mass import onnx as onnx
from mass.baselines.aps import APS
from mass.compiling import compile
from mass.errors import CoordinatesWarning, NotEquivariantError
from mass.evaluate.certificate import Certificate, ComparedOutput, Outcome
from mass.evaluate.certify import certify
from mass.evaluate.consistency import PROTOCOLS, Protocol, circular_consistency, consistency, segmentation_consistency
from mass.evaluate.origins import RecordedOrigin, record_origins
from mass.evaluate.positions import OutputOrigin, output_origins, to_pixels
from mass.exactness import exact
from mass.functional.origin.select import RULES, margin, select_origin
from mass.functional.shift import restore, shift
from mass.fx.antialias import antialias
from mass.fx.convert import convert
from mass.fx.explain import Explanation, explain
from mass.marks import mark_leaf
from mass.nn.blurpool import BlurPool
from mass.nn.layers import MassAvgPool2d, MassConv2d, MassMaxPool2d, MassPool2d
from mass.nn.unpooling import MassMaxUnpool2d
from mass.placing import canvas
from mass.sizes import crop_to, pad_to

__version__ = "0.1.0"
__all__ = [
    "APS",
    "PROTOCOLS",
    "RULES",
    "BlurPool",
    "Certificate",
    "ComparedOutput",
    "CoordinatesWarning",
    "Explanation",
    "MassAvgPool2d",
    "MassConv2d",
    "MassMaxPool2d",
    "MassMaxUnpool2d",
    "MassPool2d",
    "NotEquivariantError",
    "Outcome",
    "OutputOrigin",
    "Protocol",
    "RecordedOrigin",
    "antialias",
    "canvas",
    "certify",
    "circular_consistency",
    "compile",
    "consistency",
    "convert",
    "crop_to",
    "exact",
    "explain",
    "margin",
    "mark_leaf",
    "output_origins",
    "pad_to",
    "record_origins",
    "restore",
    "segmentation_consistency",
    "select_origin",
    "shift",
    "to_pixels",
]
