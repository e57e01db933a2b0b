"""Methods: a network's further ways of computing (`forward_features`, `encode`), each converted as `forward` is.

Each is a graph of its own, with origins of its own, over the same parameters and buffers: its modules share the tables in
which the network's modules hold them, so there is one `state_dict`, and training, loading or moving the network to a
device is seen by all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from mass.errors import NotEquivariantError
from mass.nn.evaluating import modes_of, set_modes


def tie(network: Any, method: Any) -> None:
    """Let a method's graph, converted from the same model, compute with a network's parameters and buffers."""
    method.mass_tied = {}
    for path, ours, theirs in _pairs(network, method):
        for table in ("_parameters", "_buffers"):
            if path:
                theirs.__dict__[table] = ours.__dict__[table]
            else:  # constants of the graph are buffers of the root
                theirs.__dict__[table].update(
                    {n: v for n, v in ours.__dict__[table].items() if n in theirs.__dict__[table]}
                )
        if path:
            method.mass_tied[path] = ours
            theirs.__dict__.update({name: table for name, table in vars(ours).items() if "_hooks" in name})


def follow(network: Any, method: Any) -> None:
    """Let a method's graph follow what became of the network: modes, the root's tensors, modules that were replaced.

    Raises:
        NotEquivariantError: if a module was replaced that meets a map in the method, or its parameters are computed since; in train
            mode, if the method computes something else in training than was converted.
    """
    assert method.mass_tied is not None
    method.train(network.training)  # refused where it was converted for evaluation alone
    for path, then in list(method.mass_tied.items()):
        now = _module_at(network, path)
        if now is then:
            continue
        if now is None or (method.mass_places is not None and path in method.mass_places.modules):
            reason = f"'{path}' was replaced, and maps pass there in a method that was converted with it"
            raise NotEquivariantError("", reason, "change the original, then convert it")
        method.set_submodule(path, now)
        method.mass_tied[path] = now
    set_modes(method, modes_of(network))
    for path, ours, theirs in _pairs(network, method):
        if parametrize.is_parametrized(ours) and not parametrize.is_parametrized(theirs):
            reason = f"'{path}' was parametrized, which a method that was converted with it does not see"
            raise NotEquivariantError("", reason, "parametrize the original, then convert it")
        if not path:
            for table in ("_parameters", "_buffers"):
                shared = {n: v for n, v in ours.__dict__[table].items() if n in theirs.__dict__[table]}
                theirs.__dict__[table].update(shared)


def _pairs(network: nn.Module, method: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Modules of both under the same path; those that conversion added are each graph's own."""
    ours = dict(network.named_modules(remove_duplicate=False))
    for path, theirs in method.named_modules(remove_duplicate=False):
        if path in ours and not path.startswith("mass_"):
            yield path, ours[path], theirs


def _module_at(root: nn.Module, path: str) -> nn.Module | None:
    found: Any = root
    for name in path.split("."):
        found = found._modules.get(name) if found is not None else None
    return found
