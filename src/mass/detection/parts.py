"""Parts of torchvision's detectors: of what kind they are, and what of them a converted detector calls.

It does by itself what the original does with maps, boxes and lists of images, and so never calls some modules and methods. One's own
version of these, or a hook on them, would change the original alone: such a detector is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mass.errors import NotEquivariantError
from mass.fx.network.hooks import has_hooks

_SHOWN = ("extra_repr", "_get_name")  # how it is printed


@dataclass(frozen=True)
class Part:
    """A part that is read, and not called as a whole.

    Attributes:
        name: its path in the detector; where there is none, nothing is asked of it.
        kinds: torchvision's classes of it.
        called: of their methods those that are called, or were when it was made: these may be one's own.
        holds: attributes into which torchvision puts functions that are not called, and these functions.
    """

    name: str
    kinds: tuple[type, ...]
    called: tuple[str, ...] = ()
    holds: tuple[tuple[str, Any], ...] = ()

    def check(self, detector: nn.Module) -> None:
        """Refuse a detector in which it does something else.

        Raises:
            NotEquivariantError: naming the part, and what of it would not be called.
        """
        part: Any = detector
        for name in self.name.split("."):
            part = getattr(part, name, None)
        if part is None:
            return
        kind = next((kind for kind in self.kinds if isinstance(part, kind)), None)
        if kind is None:
            known = " or ".join(kind.__name__ for kind in self.kinds)
            reason = f"'{self.name}' is a {type(part).__name__}, and what it does is not known"
            raise NotEquivariantError("", reason, f"take torchvision's {known}")
        methods = methods_of(kind).difference(self.called)
        other = [name for name, function in self.holds if getattr(part, name, function) is not function]
        if own := of_a_subclass(part, kind, methods) + of_the_instance(part, methods) + other:
            reason = f"'{self.name}' has a `{own[0]}` of its own, which a converted detector does not call"
            but = " and ".join(f"`{name}`" for name in self.called)
            but = but and f", of which {but} can be one's own"
            raise NotEquivariantError("", reason, f"take torchvision's {kind.__name__}{but}")
        if isinstance(part, nn.Module) and has_hooks(part):
            reason = f"hooks on '{self.name}' would never run, for a converted detector does not call it"
            raise NotEquivariantError("", reason, "remove them; those on the detector, its backbone and layers run")


@functools.cache
def methods_of(kind: type) -> frozenset[str]:
    """The methods that are a module's own, not every module's."""
    every = {name for name in dir(kind) if not hasattr(nn.Module, name) and callable(getattr(kind, name))}
    return frozenset(every | {"forward", "__call__"})


def of_a_subclass(part: Any, kind: type, methods: Iterable[str]) -> list[str]:
    """Which of some methods a subclass has replaced."""
    owners = {name: next((c for c in type(part).__mro__ if name in vars(c)), kind) for name in methods}
    return sorted(name for name, owner in owners.items() if owner not in kind.__mro__)


def of_the_instance(part: Any, methods: Iterable[str]) -> list[str]:
    """Which of some methods were replaced on the object itself."""
    return sorted(name for name in vars(part).keys() & set(methods) if callable(vars(part)[name]))


def require_own(model: nn.Module, kind: type, ours: type, called: Iterable[str] = ()) -> None:
    """Refuse a detector that detects in a way of its own.

    Args: kind: torchvision's class; ours: what it is to become; called: methods of the original that this calls.

    Raises:
        NotEquivariantError: naming the method.
    """
    usual = {name for name in dir(kind) if callable(getattr(kind, name)) and not name.startswith("__")}
    own = of_a_subclass(model, kind, (usual | {"__call__"}).difference(_SHOWN))
    theirs = {name for name in dir(ours) if getattr(ours, name) is not getattr(nn.Module, name, None)}
    own += of_the_instance(model, {name for name in theirs if callable(getattr(ours, name))}.difference(called))
    if own:
        reason = f"{type(model).__name__} has a `{own[0]}` of its own, which conversion would leave out"
        raise NotEquivariantError("", reason, f"convert a plain {kind.__name__}")


@functools.cache
def not_called(ours: type) -> frozenset[str]:
    """Methods of torchvision's that a converted detector has, for it is of the original's class, and does not replace."""
    owners = {name: next(c for c in ours.__mro__ if name in vars(c)) for name in methods_of(ours)}
    return frozenset(name for name, owner in owners.items() if owner.__module__.startswith("torchvision."))


def features(outputs: Any) -> Mapping[str, Tensor]:
    """What a backbone returns, as levels by name."""
    return outputs if isinstance(outputs, Mapping) else {"0": outputs}
