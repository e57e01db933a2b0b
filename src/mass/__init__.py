"""MASS: model-agnostic shift-equivariant downsampling.

    import mass
    model = mass.convert(model, example_input)      # exactly equivariant to circular shifts, same weights
    print(mass.certify(model, images))              # the proof, on your images

One idea runs through the library: an operation of period P becomes equivariant when it is applied to a map moved to an
origin that is read off the map itself, `y = f(shift(x, select_origin(x, P)))`.
"""

from .convert import convert
from .errors import NotEquivariantError
from .layers import MassAvgPool2d, MassConv2d, MassMaxPool2d, MassPool2d
from .origin import select_origin
from .shift import restore, shift
from .trace import mark_leaf
