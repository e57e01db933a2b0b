"""What a model stores of a call (`self.attention = y`): a converted network stores nothing, for its graph assigns no attributes.

An attribute would hold what it held when the model was converted, however often the network is called: whoever reads it is told.
"""

from __future__ import annotations

from typing import Any

from mass.errors import NotEquivariantError


class NotStored:
    """In the place of an attribute that the model assigns in `forward`: using it raises.

    >>> bool(NotStored("layer.attention"))
    Traceback (most recent call last):
        ...
    mass.errors.NotEquivariantError: 'layer.attention' is assigned in forward, and a converted network stores nothing of a call; \
return it, or take it by a forward hook of the module that computes it.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"NotStored({self._path!r})"

    def _refuse(self, *_: Any, **__: Any) -> Any:
        reason = f"'{self._path}' is assigned in forward, and a converted network stores nothing of a call"
        raise NotEquivariantError("", reason, "return it, or take it by a forward hook of the module that computes it")

    __bool__ = __len__ = __iter__ = __getitem__ = __call__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies and pickles ask what it is
            raise AttributeError(name)
        return self._refuse()

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = (*args, *(kwargs or {}).values())
        return next(value for value in given if isinstance(value, cls))._refuse()


def mark_stored(converted: Any) -> None:
    """Say of attributes that the model assigns in `forward` that they are not stored; modules that are called whole store theirs."""
    inside = {id(converted), *(id(converted.get_submodule(call.path)) for call in converted.mass_calls)}
    for path, name in converted.mass_stored:
        module = converted.get_submodule(path)
        if id(module) in inside:
            module.__dict__[name] = NotStored(f"{path}.{name}".lstrip("."))
