"""What tracers and compilers of others are told of a converted network.

PyTorch's own decorators import the compiler, which takes seconds; here are the marks that they leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mass.errors import NotEquivariantError


def keep_whole(tracer: Any) -> None:
    """Let somebody else's tracer, which traces a converted network, keep the library's modules whole."""
    is_leaf = tracer.is_leaf_module
    tracer.is_leaf_module = lambda m, name: type(m).__module__.startswith("mass.") or is_leaf(m, name)


def asked_when_compiled(function: Callable[[], str]) -> None:
    """Let compilers call a function when they compile, and keep its answer: `torch.compiler.assume_constant_result`."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]


def refuse(reason: str) -> None:
    """Refuse inside of what is being compiled, uncompiled (`torch.compiler.disable`): PyTorch 2.11 cannot compile an error of one's own."""
    raise NotEquivariantError("", reason)


refuse._torchdynamo_disable = True  # type: ignore[attr-defined]
