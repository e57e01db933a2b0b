"""Running a graph node by node, as its generated code does: lists among the arguments are lists that may be written to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx

from mass.nn.evaluating import drawing_alike, state_kept


def plain(value: Any) -> Any:
    """Arguments of a node, which `torch.fx` keeps immutable, as the operation would get them."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if type(value) is tuple:
        return tuple(plain(v) for v in value)
    return value


def copies(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Inputs of their own for a run that may write to them."""
    return tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs)


class Interpreter(fx.Interpreter):
    """`torch.fx.Interpreter`, for operations that write to the lists they are given (torchvision's video Swin does)."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # our errors name the node in one sentence

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> Any:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return plain(args), {name: plain(value) for name, value in kwargs.items()}


class Probing(Interpreter):
    """Runs made to look: a model that counts its calls has its state back afterwards, what it is given is not written to, and what it
    draws at random it draws in every run."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        with state_kept(self.module), drawing_alike(args):
            return super().run(*copies(args), **kwargs)
