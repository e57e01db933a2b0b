"""Hooks on containers whose inside is in the graph.

A graph calls operations, and the containers around them (`layer4`, a block) not at all, so Python would not run their
hooks. While there are any, the graph is interpreted node by node (the same operations in the same order, hence the same
bits), and each container's hooks run where its call began and where it was over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn
from torch.nn.modules.module import _WrappedHook

from mass.errors import NotEquivariantError
from mass.fx.interpreter import Interpreter
from mass.fx.network.calls import Call, Packed
from mass.nn.graph.structure import Slot, unpack
from mass.structure import leaves


def has_hooks(module: nn.Module) -> bool:
    """Whether anybody wants to hear of calls of this module."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


_HEARD = ("_forward_hooks", "_forward_pre_hooks")


@contextmanager
def without_hooks(model: nn.Module) -> Iterator[None]:
    """Meanwhile no hook runs before or after a forward of the model's modules, but those that are part of it.

    These are hooks by which a model collects what its layers return: transformers puts them there at a first call.
    """
    kept = [(m, table, m.__dict__[table]) for m in model.modules() for table in _HEARD]
    for module, table, hooks in kept:
        module.__dict__[table] = type(hooks)((key, hook) for key, hook in hooks.items() if _is_part(hook))
    try:
        yield
    finally:
        for module, table, hooks in kept:
            hooks.update(module.__dict__[table])
            module.__dict__[table] = hooks


def drop_traced(module: nn.Module) -> None:
    """Remove hooks of a container whose effect is in the graph."""
    for table in _HEARD:
        for key, hook in list(module.__dict__[table].items()):
            if _is_part(hook):
                del module.__dict__[table][key]


def _is_part(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("transformers.")


def rebind_hooks(old: nn.Module, new: nn.Module) -> None:
    """Hooks on state dicts that hold the module they are called with, weakly, hold from then on the one in its place."""
    for table, hooks in vars(old).items():
        if "state_dict" not in table or "hooks" not in table:
            continue
        bound = {
            key: _WrappedHook(hook.hook, new) if isinstance(hook, _WrappedHook) and hook.with_module else hook
            for key, hook in hooks.items()
        }
        vars(new)[table] = type(hooks)(bound)


class Hooked(Interpreter):
    """Runs a converted network and the hooks of its containers.

    Hooks hear; a forward hook may also return another output, in the place of a tensor that its container made.

    Raises:
        NotEquivariantError: for hooks that are called on the way back, or change what a container is given.
    """

    def __init__(self, module: fx.GraphModule, calls: tuple[Call, ...]) -> None:
        super().__init__(module)
        self.garbage_collect_values = False  # a hook is given what its module was given
        self.named = {n.name: n for n in module.graph.nodes}
        moments = []
        for call in calls:
            if has_hooks(module.get_submodule(call.path)):
                self._check(call)
                moments += [(call.begins, self._begin, call), (call.ends, self._end, call)]
        self.events: dict[str, list[tuple[Callable[[Call], None], Call]]] = {}
        for moment, run, call in sorted(moments, key=lambda event: event[0].tick):
            self.events.setdefault(moment.behind, []).append((run, call))

    def _check(self, call: Call) -> None:
        module = self.module.get_submodule(call.path)
        if module._backward_hooks or module._backward_pre_hooks:
            reason = (
                f"backward hooks on '{call.path}', whose inside is in the graph of the converted network, cannot be run"
            )
            remedy = "register a forward hook, and in it a hook on the output: output.register_hook(…)"
            raise NotEquivariantError("", reason, remedy)
        if not (call.given.known and call.returned.known):
            reason = (
                f"hooks on '{call.path}' cannot be run: it is given, or returns, objects that a graph does not hold"
            )
            raise NotEquivariantError("", reason, "register them on a module inside of it")

    def run_node(self, n: fx.Node) -> Any:
        self.env[n] = super().run_node(n)
        for run, call in self.events.get(n.name, ()):
            run(call)
        return self.env[n]

    def _values(self, packed: Packed) -> Any:
        return unpack(packed.structure, tuple(self.env[self.named[name]] for name in packed.nodes))

    def _begin(self, call: Call) -> None:
        module, (args, kwargs) = self.module.get_submodule(call.path), self._values(call.given)
        for key, hook in list(module._forward_pre_hooks.items()):
            with_kwargs = key in module._forward_pre_hooks_with_kwargs
            changed = hook(module, args, kwargs) if with_kwargs else hook(module, args)
            given = (args, kwargs) if with_kwargs else args if isinstance(changed, tuple) else args[0]
            if changed is not None and not _same(changed, given):
                reason = f"a pre-hook on '{call.path}' changes what it is given, and the graph reads that elsewhere too"
                raise NotEquivariantError("", reason, "change the model, then convert it")

    def _end(self, call: Call) -> None:
        module, (args, kwargs) = self.module.get_submodule(call.path), self._values(call.given)
        for key, hook in list(module._forward_hooks.items()):
            output = self._values(call.returned)
            with_kwargs = key in module._forward_hooks_with_kwargs
            changed = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
            if changed is None or changed is output:
                continue
            if not isinstance(call.returned.structure, Slot) or call.returned.nodes[0] in call.given.nodes:
                reason = f"a hook on '{call.path}' returns another output, and that is no tensor of its own making"
                raise NotEquivariantError("", reason, "change the model, then convert it")
            self.env[self.named[call.returned.nodes[0]]] = changed


def _same(one: Any, other: Any) -> bool:
    ours, theirs = [v for _, v in leaves(one)], [v for _, v in leaves(other)]
    return len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))
