"""The first equality of a conversion: the traced graph is the model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from mass.errors import NotEquivariantError
from mass.fx.network.converted import Converted
from mass.fx.tracing.example import Example, Inputs
from mass.fx.verification.probes import Probes, awake
from mass.motion import alike, distance
from mass.nn.evaluating import drawing_alike, modes_of, set_modes, state_kept
from mass.structure import leaves


def verify_trace(model: nn.Module, traced: Converted, example: Example) -> None:
    """Equality 1: the traced graph gives what the model gives, on the example and on other inputs.

    Tried in eval mode on the example, on noise, a constant and a bright pixel, as batches of one and two; and, where the
    model was traced for training too, on noise in train mode, random numbers drawn alike.

    Raises:
        NotEquivariantError: naming the output that differs.
    """
    inputs = example.values
    ours, theirs, probes = copy.deepcopy(model), copy.deepcopy(traced), Probes(inputs)
    for module in (ours, theirs):
        awake(module)
    tried = [("the example", inputs), ("noise", probes.noise()), ("a constant", probes.constant()),
             ("a bright pixel", probes.pixel())]  # fmt: skip
    tried += [(f"a batch of {n}", batch) for n in (1, 2) if n != len(inputs[0]) and (batch := probes.of_batch(n))]
    for training in (False, True) if not getattr(traced, "mass_evaluation_only", "") else (False,):
        _set_mode(ours, theirs, training)
        for what, values in tried if not training else tried[1:2]:
            try:
                _require(ours, theirs, example, values, f"on {what}" + (" in train mode" if training else ""))
            except NotEquivariantError as refusal:
                if not training or model.training:
                    raise
                traced.mass_evaluation_only = refusal.reason

    def taken(count: int) -> Inputs | None:
        batch = probes.of_batch(count)
        with state_kept(theirs):
            refused = batch is None or isinstance(_outcome(theirs.eval().forward, batch), Exception)
        return None if refused else batch

    other = ""
    for training in (True, False) if not getattr(traced, "mass_evaluation_only", "") else (False,):
        few = taken(2 if training else 1) or probes.noise()  # a batch of one has no statistics
        _set_mode(ours, theirs, training)
        other = other or _other_gradient(ours, theirs, example, few)
    if other:
        reason = f"the traced graph learns otherwise than the model: the gradient of '{other}' is another (torch.no_grad or an autograd function in its forward, say)"
        if model.training:
            remedy = "mark the module that has it with mass.mark_leaf, or convert the model in eval mode"
            raise NotEquivariantError("", reason, remedy)
        traced.mass_evaluation_only = traced.mass_evaluation_only or reason


def _set_mode(ours: nn.Module, theirs: nn.Module, training: bool) -> None:
    """Both in train or in eval mode, as the model's own `train` has it, which may leave parts in eval mode."""
    ours.train(training)
    set_modes(theirs, modes_of(ours))


def _other_gradient(ours: nn.Module, theirs: nn.Module, example: Example, values: Inputs) -> str:
    """The first parameter, or 'the input', whose gradient in the trace is not the model's, by a sum of all outputs; '' where all are.

    Parameters that are frozen now are asked too: they may be trained later. Nothing is said where none is known.
    """
    for module in (ours, theirs):
        for p in module.parameters():
            p.requires_grad_(p.is_floating_point())
    learned, same = ({name: p for name, p in module.named_parameters() if p.requires_grad} for module in (ours, theirs))
    names = list(learned)
    if same.keys() != learned.keys():
        return ""
    expected = _gradients(lambda *given: example.call(ours, given), [learned[name] for name in names], values)
    found = _gradients(theirs.forward, [same[name] for name in names], values)
    if expected is None:
        return ""
    names.append("the input")
    if found is None:
        return names[0]
    differ = [n for n, one, other in zip(names, expected, found, strict=True) if not _equal(one, other)]
    if not differ:
        return ""
    pairs = dict(zip(names, zip(expected, found, strict=True), strict=True))
    largest = max(
        (distance(g, g)[1] for name, g in zip(names[:-1], expected, strict=False) if g is not None), default=0.0
    )
    for name in differ:
        one, other = pairs[name]
        if one is None or other is None or distance(one, other)[0] > 1e-4 * (largest or distance(one, one)[1]):
            return name
    return ""


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


def _gradients(
    module: Callable[..., Any], parameters: list[nn.Parameter], inputs: Inputs
) -> list[Tensor | None] | None:
    """Of every parameter and of the image, of all floating-point outputs weighed and added up; None where there are none to learn from."""
    given = tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs)
    try:
        image = given[0].requires_grad_()
        with torch.enable_grad(), torch.random.fork_rng([]):
            torch.manual_seed(0)
            outputs = [y for _, y in leaves(module(image * 1, *given[1:])) if isinstance(y, Tensor) and y.requires_grad]
            if not outputs:
                return None
            total = sum(
                ((y * torch.arange(1, y.numel() + 1, device=y.device).view(y.shape).cos()).sum() for y in outputs),
                torch.zeros(()),
            )
            return list(torch.autograd.grad(total, [*parameters, image], allow_unused=True))
    except Exception:  # noqa: BLE001 - what cannot be learned from is not compared
        return None


def require_trace(model: nn.Module, traced: Converted, example: Example, inputs: Inputs, where: str) -> None:
    """The same on these inputs, in eval mode.

    Raises:
        NotEquivariantError: naming the output that differs; `where` says where.
    """
    ours, theirs = copy.deepcopy(model).eval(), copy.deepcopy(traced).eval()
    for module in (ours, theirs):
        awake(module)
    _require(ours, theirs, example, inputs, where)


def runs(model: nn.Module, example: Example, inputs: Inputs) -> bool:
    """Whether the model takes these inputs, in eval mode."""
    ours = copy.deepcopy(model).eval()
    return not isinstance(_outcome(lambda *given: example.call(ours, given), inputs), Exception)


def _require(ours: nn.Module, theirs: nn.Module, example: Example, values: Inputs, where: str) -> None:
    with state_kept(ours), state_kept(theirs):  # statistics, of which a run that fails half-way has updated some
        expected = _outcome(lambda *given: example.call(ours, given), values)
        if isinstance(expected, Exception):
            return  # the model does not take this
        found = _outcome(theirs.forward, values)  # a call of it would print what fails, which here is an answer
    if isinstance(found, ValueError) and "would decide otherwise" in str(found):
        return  # said in a sentence when it runs
    _require_same(expected, found, where)


def _outcome(module: Callable[..., Any], inputs: Inputs) -> Any:
    """What a module returns, or the exception that it raises; random numbers are drawn alike at every call."""
    with torch.no_grad(), drawing_alike(inputs):
        try:
            return module(*(x.clone() if isinstance(x, Tensor) else x for x in inputs))
        except Exception as error:  # noqa: BLE001 - any of them is an outcome to compare
            return error


def _require_same(expected: Any, found: Any, where: str) -> None:
    remedy = "rewrite what depends on it in tensor operations, or mark the module with mass.mark_leaf"
    if isinstance(found, Exception):
        reason = f"the traced graph fails {where}, where the model does not: {str(found).splitlines()[0].rstrip('.')}"
        raise NotEquivariantError("", reason, remedy) from found
    ours, theirs = list(leaves(expected)), list(leaves(found))
    if [path for path, _ in ours] != [path for path, _ in theirs]:
        reason = f"the traced graph returns {len(theirs)} values {where}, the model {len(ours)}"
        raise NotEquivariantError("", reason, remedy)
    for (path, one), (_, other) in zip(ours, theirs, strict=True):
        name = f"output '{path}'" if path else "its output"
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            if one.dtype != other.dtype or not alike(one, other, 1e-5):
                difference, scale = distance(one, other) if one.shape == other.shape else (torch.nan, torch.nan)
                reason = (
                    f"the traced graph is not the model: {where}, {name} differs by {difference:.2g} (of {scale:.2g})"
                )
                raise NotEquivariantError("", reason, remedy)
        elif any(isinstance(value, fx.Proxy) for value in getattr(other, "__dict__", {}).values()):
            reason = f"{name} is a {type(one).__name__}, which a graph cannot fill with its tensors"
            raise NotEquivariantError("", reason, "return tensors in tuples, lists, dicts, named tuples or dataclasses")
        elif type(one) is not type(other) or (isinstance(one, bool | int | float | str) and one != other):
            reason = f"the traced graph is not the model: {where}, {name} is {other!r} where the model gives {one!r}"
            raise NotEquivariantError("", reason, remedy)
