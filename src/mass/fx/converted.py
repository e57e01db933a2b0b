"""The class of a converted network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

from torch import fx
from torch.fx.graph_module import reduce_graph_module

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.fx.output_lattice import OutputLattice

_OWN = ("total_stride", "evaluation_only", "fixed", "outputs")
_STATE = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")


class Converted(fx.GraphModule):
    """A model on its way through conversion, and what `mass.convert` returns: traced first, then rewritten in place.

    A `torch.fx.GraphModule` that keeps, when it is copied or pickled, its class, its own attributes, and the submodules
    that its graph does not call (auxiliary classifiers, say), so that its `state_dict` keys stay the original's.

    Attributes:
        total_stride: what the input's height and width must be multiples of.
        outputs: where its outputs lie, by their paths (`OutputLattice`): read by `mass.output_origins`.
        fixed: arguments of the model that are no inputs of the converted network, with their values.
        evaluation_only: why it was converted for evaluation alone: what the model computes otherwise in training; or ''.
    """

    total_stride: Pair = (1, 1)
    outputs: Mapping[str, OutputLattice] = MappingProxyType({})
    evaluation_only: str = ""
    fixed: dict[str, Any] = MappingProxyType({})  # type: ignore[assignment]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the original; arguments that the example left at their defaults are fixed.

        Raises:
            TypeError: for another value of these, and for arguments that the model does not have.
        """
        for name in [name for name in kwargs if name in self.fixed]:
            given, fixed = kwargs.pop(name), self.fixed[name]
            if given is not fixed and not (isinstance(given, bool | int | float | str) and given == fixed):
                raise TypeError(
                    f"{name} is {fixed!r} in this converted network, got {given!r}; convert the model with an example "
                    f"that gives it: a dict of arguments, or a tuple."
                )
        return super().__call__(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        result: Any = super().__deepcopy__(memo)
        type(result).__name__ = type(self).__name__
        result._adopt({name: copy.deepcopy(self.__dict__.get(name), memo) for name in (*_STATE, *_OWN)})
        return result

    def __reduce__(self) -> tuple:
        _, arguments = super().__reduce__()
        return _unpickled, (type(self).__name__, *arguments)

    def _adopt(self, attributes: dict[str, Any]) -> None:
        for name in (*_STATE, *_OWN):
            if attributes.get(name) is not None:
                setattr(self, name, attributes[name])

    def train(self, mode: bool = True) -> Self:
        """As `torch.nn.Module.train`; refused where the model computes something else in training than was converted."""
        if mode and self.evaluation_only:
            reason = f"converted for evaluation alone: in training the model computes something else ({self.evaluation_only})"
            raise NotEquivariantError("", reason, "mark the module that reads self.training with mass.mark_leaf")
        return super().train(mode)


def _unpickled(class_name: str, body: dict[str, Any], import_block: str) -> Converted:
    """`torch.fx` restores a plain `GraphModule`, from its code; its graph and all that was kept make ours."""
    kept = dict(body)
    plain = reduce_graph_module(body, import_block)
    assert isinstance(plain, fx.GraphModule)
    result = Converted(plain, plain.graph, class_name=class_name)
    result.training = plain.training
    result._adopt(kept)
    return result
