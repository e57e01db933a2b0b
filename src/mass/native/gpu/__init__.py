"""Selection and wrapping copies on CUDA, in Triton; no kernel asks the host for a value.

Bit-identical to the PyTorch code beside them, tested on a GPU where there is one and in Triton's interpreter elsewhere.
"""

from mass.native.gpu.origin import select_origin
from mass.native.gpu.wrap import wrap

__all__ = ["select_origin", "wrap"]
