"""Rules, by kind of operation: what each one does to a lattice, and what stands for it in a converted network.

A rule is registered when its module is imported, so a new room of rules is imported here. Two things are no rules of
single operations: `whole_map`, the period that any operation has at least, and `tokens`, what follows a flattened map.
"""

from mass.fx.rule import operation_of, operation_of_module
from mass.fx.rules import (
    along_channels,
    channels,
    conv,
    loss,
    normalisation,
    padding,
    pointwise,
    pooling,
    reduction,
    resize,
    shape,
    unpooling,
)

__all__ = [
    "along_channels",
    "channels",
    "conv",
    "loss",
    "normalisation",
    "operation_of",
    "operation_of_module",
    "padding",
    "pointwise",
    "pooling",
    "reduction",
    "resize",
    "shape",
    "unpooling",
]
