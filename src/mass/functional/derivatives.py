"""Derivatives by `torch.func` (`grad`, `jvp`, `jacrev`, `hessian`, …) and by dual numbers: operators of one's own have no rule for them.

`torch.library` takes a rule for `backward()` alone: through its operators a tangent is lost, in silence, and `torch.func.grad`
fails. While somebody takes such derivatives, shifts and borders are made of PyTorch's own operations, and the rest by functions
with all rules.
"""

from __future__ import annotations

import torch
from torch._C._functorch import TransformType, get_interpreter_stack


def takes_derivatives() -> bool:
    """Whether `torch.func`, or a level of dual numbers, takes derivatives now.

    Compilers read the levels of dual numbers too, and compile anew where they change; they know no other transform.

    >>> import torch.autograd.forward_ad as dual
    >>> with dual.dual_level():
    ...     takes_derivatives()
    True
    >>> torch.func.grad(lambda x: x * takes_derivatives())(torch.ones(())), takes_derivatives()
    (tensor(1.), False)
    """
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    return any(level.key() in (TransformType.Grad, TransformType.Jvp) for level in get_interpreter_stack() or ())
