"""Marks: classes of modules that are declared to be one operation of a known period."""

from __future__ import annotations

from typing import Any

from torch import nn

from mass.errors import NotEquivariantError

_marked: dict[type, int | str] = {}


def mark_leaf(module_class: type[nn.Module], period: int | str = 1) -> type[nn.Module]:
    """Declare that a module class is one operation that commutes with circular shifts by multiples of `period`.

    `mass.convert` then calls it whole, on a map moved to its origin; with `period` s its output is 1 / s the size.
    Where modules of the class differ, `period` names the attribute that holds it: 'stride', say.
    What is declared is believed at first and checked afterwards: `verify=True` compares the converted network on
    shifted input. Classes that are not marked and cannot be traced have the whole map as their period. Returns the class, so it serves as a decorator.

    >>> class Gate(nn.Module):
    ...     def forward(self, x):
    ...         return x * 2 if x.sum() > 0 else x     # reads a value: cannot be traced
    >>> mark_leaf(Gate) is Gate
    True
    """
    if not (isinstance(module_class, type) and issubclass(module_class, nn.Module)):
        got = (
            f"an instance of one, {type(module_class).__name__}"
            if isinstance(module_class, nn.Module)
            else repr(module_class)
        )
        raise TypeError(f"mark_leaf takes a subclass of torch.nn.Module, got {got}.")
    if not ((isinstance(period, str) and period.isidentifier()) or _is_period(period)):
        raise ValueError(f"period must be an int of at least 1 or an attribute's name, got {period!r}.")
    _marked[module_class] = period
    return module_class


def _is_period(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def marked_period(module: nn.Module) -> int | None:
    """The period that a module's class was marked with as a leaf, else None."""
    period = next((_marked[cls] for cls in type(module).__mro__ if cls in _marked), None)  # the nearest class's
    if not isinstance(period, str):
        return period
    value = getattr(module, period, None)
    if not _is_period(value):
        reason = f"{type(module).__name__} was marked with the period '{period}', and that is {value!r}"
        raise NotEquivariantError("", reason, "make it an int of at least 1")
    return value
