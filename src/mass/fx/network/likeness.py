"""A converted network is an instance of the original's class, and never runs what was not converted.

The class that it gets is made for it: `Converted` and the original's class. What the graph stands for is `forward`; every
other method of the original's class does what it did when it is given no tensor (`get_classifier`, `num_parameters`), and
refuses in a sentence when it is, for it would compute with modules whose borders and origins are the graph's business.
What a Trainer of Lightning calls are such methods: a training step may read layers one by one.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from mass.errors import NotEquivariantError
from mass.fx.network.sequence import CONTAINER
from mass.structure import leaves


@dataclass(frozen=True)
class Own:
    """In the place of an attribute that was a method of the model itself, bound to it."""

    method: str


_LIGHTNING = ("lightning", "pytorch_lightning")

_made: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def class_like(original: type, converted: type) -> type | None:
    """A class of converted networks that are also instances of `original`; None where Python does not let it be.

    >>> class Net(nn.Module):
    ...     def features(self, x):
    ...         return x
    >>> made = class_like(Net, fx.GraphModule)
    >>> made.__name__, issubclass(made, Net), made._stands_for is Net
    ('MassNet', True, True)
    """
    if original not in _made:
        name = f"Mass{original.__name__}"
        by_a_trainer = called_by_a_trainer(original)
        contents: dict[str, Any] = {n: _guarded(n, f, n in by_a_trainer) for n, f in _methods(original).items()}
        contents |= CONTAINER if issubclass(original, nn.Sequential) else {}
        contents |= {"__module__": original.__module__, "__doc__": converted.__doc__, "_stands_for": original}
        try:
            _made[original] = types.new_class(name, (converted, original), {}, lambda d: d.update(contents))
        except TypeError:  # two layouts, or an order of bases, that do not go together
            return None
    return _made[original]


def importable(cls: type) -> type | None:
    """A class that a pickle can name; None for one that was defined in a function."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return cls if found is cls else None


def _methods(original: type) -> dict[str, Any]:
    """The methods that a class has and torch's modules have not; static ones know no network."""
    found: dict[str, Any] = {}
    for cls in reversed(original.__mro__):
        found.update({n: f for n, f in vars(cls).items() if isinstance(f, types.FunctionType)})
    own = set(dir(fx.GraphModule)) | set(dir(nn.Module))  # hooks, state dicts, devices: machinery
    return {name: f for name, f in found.items() if name not in own and not name.startswith("__")}


def called_by_a_trainer(original: type) -> frozenset[str]:
    """The methods of a LightningModule that are Lightning's, overridden or not; () of other modules."""
    lightning = [cls for cls in original.__mro__ if cls.__module__.partition(".")[0] in _LIGHTNING]
    return frozenset(name for cls in lightning for name in vars(cls)) & _methods(original).keys()


def not_by_a_trainer(name: str) -> NotEquivariantError:
    """The refusal of what a Trainer calls."""
    reason = f"no Trainer runs a converted LightningModule: its steps may read layers one by one ({name})"
    return NotEquivariantError("", reason, "convert the network inside: module.net = mass.convert(module.net, x)")


def _guarded(name: str, method: Callable[..., Any], by_a_trainer: bool) -> Callable[..., Any]:
    """The method, refused where it would compute on tensors; converted where `methods=` asked for that."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name in self.mass_networks:
            return self.mass_run_method(name, *args, **kwargs)
        given_tensors = any(isinstance(value, Tensor) for _, value in leaves([args, kwargs]))
        if by_a_trainer and (given_tensors or name.endswith("_step")):  # a batch may be of any class
            raise not_by_a_trainer(name)
        if given_tensors:
            reason = f"{name} of this network is not converted"
            raise NotEquivariantError("", reason, f"convert it with mass.convert(…, methods=({name!r},))")
        if "checkpointing" in name:
            reason = f"{name} changes what forward does, which the graph of a converted network does not hold"
            raise NotEquivariantError("", reason, "checkpoint the converted network as a whole")
        return method(self, *args, **kwargs)

    return call
