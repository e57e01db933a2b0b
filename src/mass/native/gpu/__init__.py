"""Selection, wrapping copies and depthwise convolution on CUDA, in Triton; no kernel asks the host for a value.

Origins and copies are bit-identical to the PyTorch code beside them, convolutions sum in an order of their own; tested on a GPU
where there is one and in Triton's interpreter elsewhere.
"""

from mass.native.gpu.depthwise import depthwise
from mass.native.gpu.origin import select_origin
from mass.native.gpu.wrap import wrap

__all__ = ["depthwise", "select_origin", "wrap"]
