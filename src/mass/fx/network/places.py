"""Places: a converted network's modules stay where they are, as far as its graph relies on them.

What meets a map was rewritten for its place: another convolution there would know nothing of origins and borders; a new
container would not be called at all, for the graph holds the inside of the old one, and one more in a list would not
either. All are refused in a sentence, at once where the network itself is assigned to, else when it runs next. Modules
behind the last map can be replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from mass.errors import NotEquivariantError

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Inside:
    """In the place of `forward` of a container whose inside is in the graph: called for itself it would lack origins."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *_: Any, **__: Any) -> Any:
        reason = f"'{self.path}' is part of the converted network, and was not converted for itself"
        raise NotEquivariantError("", reason, f"call the network, or convert the original's '{self.path}'")


class Places:
    """The modules that a graph relies on.

    Args:
        containers: paths of those whose inside is in the graph; operations: of those that meet a map.
    """

    def __init__(self, root: nn.Module, containers: Iterable[str], operations: Iterable[str]) -> None:
        self.containers = dict.fromkeys(sorted(containers))
        self.modules: dict[str, nn.Module] = {}
        for path in sorted({*containers, *operations}):
            parts = path.split(".")
            for k in range(1, len(parts) + 1):
                self.modules[".".join(parts[:k])] = root.get_submodule(".".join(parts[:k]))
        for path in self.containers:
            self.modules[path].forward = Inside(path)
        lists = {path: module for path, module in self.modules.items() if isinstance(module, _LISTS)}
        self.children = {path: set(module._modules) for path, module in {"": root, **lists}.items()}

    def check(self, root: nn.Module) -> None:
        """Refuse a network in which one of them was replaced."""
        found: dict[str, Any] = {"": root}
        for path, module in self.modules.items():
            parent, _, name = path.rpartition(".")
            now = found[path] = found[parent]._modules.get(name)
            if now is not module:
                self._refuse(path, now)
                found[path] = module
        for path, known in self.children.items():
            if found[path]._modules.keys() <= known or not isinstance(found[path], _LISTS):
                continue
            if added := [name for name in found[path]._modules if name not in known and not name.startswith("mass_")]:
                reason = f"'{f'{path}.{added[0]}'.lstrip('.')}' was added after the conversion, and would not run"
                raise NotEquivariantError("", reason, "change the original, then convert it")

    def check_assignment(self, name: str, value: nn.Module) -> None:
        """Refuse it at once."""
        if name.startswith("mass_"):
            reason = f"'{name}' is the converted network's own"
            raise NotEquivariantError("", reason, "change the original, then convert it")
        if name in self.modules and value is not self.modules[name]:
            self._refuse(name, value)

    def _refuse(self, path: str, now: nn.Module | None) -> None:
        if _does_as_well(self.modules[path], now):
            return
        kind = type(now).__name__ if now is not None else "nothing"
        if path in self.containers or any(other.startswith(f"{path}.") for other in self.modules):
            reason = f"'{path}' cannot become {kind}: the converted network holds the inside of what was there"
        else:
            reason = f"'{path}' cannot become {kind}: maps pass there, and it would not be converted"
        raise NotEquivariantError("", reason, "change the original, then convert it")


def _does_as_well(old: nn.Module, new: nn.Module | None) -> bool:
    """Whether a module can stand where another was: it wraps that one whole, normalises as it did, or does nothing."""
    if new is None:
        return False
    if type(new).__module__.startswith("torch.distributed"):
        return any(part is old for part in new.modules())
    if isinstance(new, _BatchNorm):
        return isinstance(old, _BatchNorm) and not list(old.children())
    return isinstance(new, nn.Identity) and isinstance(old, _BatchNorm | _DropoutNd)
