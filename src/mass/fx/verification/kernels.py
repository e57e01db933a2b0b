"""The fourth equality: in the precision that a network is used in, its compiled kernels give what PyTorch's code gives.

The gate compares in float64, whose kernels are others than those of float32. So every operation that conversion put in
runs twice on the same values, and what differs is named. On the same values: a near tie that rounding tips is none here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from mass import native
from mass.errors import NotEquivariantError
from mass.fx.interpreter import Probing
from mass.fx.network.converted import Converted
from mass.fx.nodes import module_of, place_of
from mass.fx.tracing.example import Inputs
from mass.fx.verification.probes import Probes
from mass.motion import cancelled, distance
from mass.nn.evaluating import evaluating

# Of the largest value, in roundings of the dtype: sums in another order are off by some, a wrong element by its size.
_ROUNDINGS = 1000
_TF32 = 2.0**-10  # of PyTorch's float32 convolutions on a GPU, unless they are told otherwise


def require_kernels(converted: Converted, inputs: Inputs) -> None:
    """Compare, node by node, on the example (noise where shifts leave it as it is); nothing where there are no compiled kernels.

    Raises:
        NotEquivariantError: naming the first operation whose kernel gives something else.
    """
    if native.kernels() is not None or inputs[0].is_cuda:
        with evaluating(converted):
            _Twice(converted).run(*Probes(inputs).moving())


class _Twice(Probing):
    """Runs a graph, and what conversion put into it twice: by the kernels, and by PyTorch."""

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        module = module_of(n)
        if module is None or not type(module).__module__.startswith("mass.") or not isinstance(found, Tensor):
            return found
        with native.reference():
            expected = super().run_node(n)
        read = [self.env.get(i) for i in n.all_input_nodes]
        difference, scale = distance(expected, found)
        tolerance = 0.0
        if found.is_floating_point():
            kind = torch.finfo(found.dtype)
            if scale > kind.max / 8:  # the order of a sum decides whether it overflows
                return found
            eps = _TF32 if found.is_cuda and found.dtype == torch.float32 else kind.eps
            tolerance = min(_ROUNDINGS * eps, 0.1)
        if not difference <= max(tolerance * scale, cancelled(tolerance, read)):
            reason = (
                f"in {found.dtype} its compiled kernel differs from PyTorch's code by {difference:.2g} (of {scale:.2g})"
            )
            raise NotEquivariantError(
                place_of(n), reason, "report it; with MASS_NATIVE=0 in the environment PyTorch does the work"
            )
        return found
