"""Forward-mode derivatives (`torch.func.jvp`, `jacfwd`, dual numbers): operators of one's own have no rule for them.

PyTorch has none to register: through an operator of `torch.library` a tangent is lost, in silence. While somebody takes such
derivatives, shifts and borders are made of PyTorch's own operations, and exact means by a function with a rule.
"""

from __future__ import annotations

import torch


def in_forward_mode() -> bool:
    """Whether tangents may be carried along: inside `torch.func.jvp` and its like, and inside a level of dual numbers.

    Compilers read it too, and compile anew where it changes.

    >>> import torch.autograd.forward_ad as dual
    >>> with dual.dual_level():
    ...     in_forward_mode()
    True
    >>> torch.func.jvp(lambda x: x * in_forward_mode(), (torch.ones(()),), (torch.ones(()),))[1], in_forward_mode()
    (tensor(1.), False)
    """
    return torch.autograd.forward_ad._current_level >= 0
