"""Attributes that `forward` assigns: after a trace the model has those that it had before."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from mass.errors import NotEquivariantError
from mass.fx.network.calls import packed


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[set[tuple[str, str]]]:
    """What a model stores of a call (`self.shape = x.shape`) is as before where it would be a symbol; yields their paths and names.

    Raises:
        NotEquivariantError: where that is a buffer, which counts in what the model computes later.
    """
    before = [(place, m, dict(m.__dict__)) for place, m in model.named_modules()]
    held = [
        (v, copy.copy(v), (place, name))
        for place, _, attributes in before
        for name, v in attributes.items()
        if type(v) in (list, dict)
    ]
    buffers = [(name, m, dict(m._buffers)) for name, m in model.named_modules()]
    stored: set[tuple[str, str]] = set()
    try:
        yield stored
        for place, module, kept in buffers:
            for name in kept:
                if packed(module._buffers.get(name)).nodes:
                    reason = (
                        f"buffer '{f'{place}.{name}'.lstrip('.')}' is assigned in forward, and a graph assigns none"
                    )
                    remedy = "write into it (self.x.copy_(…)), or mark the module's class with mass.mark_leaf"
                    raise NotEquivariantError("", reason, remedy)
    finally:
        for _, module, kept in buffers:
            module._buffers.update({name: kept[name] for name in kept if packed(module._buffers.get(name)).nodes})
        for container, then, where in held:  # `self.features.append(y)`
            if packed(container).nodes:
                stored.add(where)
                container.clear()
                container.extend(then) if isinstance(container, list) else container.update(then)
        for place, module, attributes in before:
            for name, value in list(module.__dict__.items()):
                if value is attributes.get(name) or not packed(value).nodes:
                    continue
                stored.add((place, name))
                if name in attributes:
                    module.__dict__[name] = attributes[name]
                else:
                    del module.__dict__[name]
