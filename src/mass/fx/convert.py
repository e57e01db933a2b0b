"""`convert`: any convolutional network, pretrained ones included, exactly shift-equivariant (paper, section 4.3)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx, nn

from mass.axes import POSITIONS
from mass.errors import CoordinatesWarning, NotEquivariantError, check_counts
from mass.families import family_of
from mass.functional.origin.select import RULES
from mass.fx.depth import move_in_depth
from mass.fx.fuse import drop_unread, fuse_shifts
from mass.fx.heads import call_heads_whole, meets_map
from mass.fx.infer import infer
from mass.fx.network.converted import Converted
from mass.fx.network.door import OnlySize
from mass.fx.network.hooks import drop_traced
from mass.fx.network.likeness import called_by_a_trainer, not_by_a_trainer
from mass.fx.network.methods import tie
from mass.fx.network.places import Places
from mass.fx.nodes import inside_of, module_of, place_of, returned
from mass.fx.outputs import about_coordinates
from mass.fx.planning import copied, planned
from mass.fx.rewrite import Rewriter
from mass.fx.tracing.example import Example, Inputs, about_axes, as_example
from mass.fx.tracing.plain import require_plain
from mass.fx.tracing.trace import note_shapes
from mass.fx.verification.fits import NoLongerFits, check_runs
from mass.fx.verification.in_range import in_range
from mass.fx.verification.kernels import require_kernels
from mass.fx.verification.larger import only_at_this_size
from mass.fx.verification.verify import Gate
from mass.fx.verification.verify_blend import blended
from mass.fx.verification.verify_trace import verify_trace
from mass.nn.graph.alignment import SelectOrigin, Symmetrise

_PATHS = 8


def convert(
    model: nn.Module,
    example_input: Any,
    *,
    origin: str = "l2",
    verify: bool = True,
    symmetrise: bool = False,
    blend: float | Mapping[str, float] = 0.0,
    paths: int = _PATHS,
    dims: Sequence[int] | None = None,
    methods: Sequence[str] | Mapping[str, Any] = (),
) -> Converted:
    """A copy of `model` that is equivariant to every circular shift of its input, with no new parameter.

    Shape: floating-point images (B, C, H, W), videos (B, C, T, H, W) or signals (B, C, L) in; out, what `model` gives.

    The copy is a `torch.fx.GraphModule` with the original's `state_dict` keys, in which `mass_origin_…`, `mass_shift`
    and `mass_restore` are nodes (a shift that convolutions and pools alone read is done by them, mass.fx.fuse): strided
    operations sample from an origin read off the features, parallel branches share it (mass.fx.lattice), borders wrap,
    upsampled maps are shifted back, and reductions over positions add exactly. It trains, pickles, and compiles as the original does.

    Args:
        model: any `torch.nn.Module` whose forward `torch.fx` can trace, submodules that it cannot trace stay whole; it is
            not changed. One of torchvision's detectors is converted by its parts (mass.detection). An operation without a
            smaller known period is applied to the whole map in its canonical position. What the model
            decides by its input's size is decided as for the example (other sizes must lead to the same, or are refused
            then). One in eval mode that computes something else in training is converted for evaluation alone.
        example_input: a batch of images (B, C, H, W), of videos (B, C, T, H, W) or of signals (B, C, L), or a tuple of
            arguments with such a batch first, or a dict of them by name. Masks of its size and labels (B, H, W) move with it; other
            arguments stay as they are. H and W, or L, must be multiples of the total stride; other sizes that are may be used
            later, unless what the model computes from its input's size turned out to be frozen: then they are refused. Videos are
            made equivariant in rows and columns, not in time: it is padded and sampled as by the original, and all frames share an
            origin (mass.nn.pooling). A signal is a map of one row (mass.nn.pooling).
        origin: the selection rule, one of `mass.functional.origin.select.RULES`; 'zero' keeps the fixed grid (a control: circular
            borders alone).
        verify: compare the trace with the model, the rewriting with the trace, and how every output moves (mass.fx.verification.verify).
        symmetrise: for dense outputs, average over the origins that the input's own translation symmetries leave
            undecided, so that the output has them too (Puny et al., 2022).
        blend: average over the origins that nearly tie instead of choosing one, which makes the network continuous in its
            input as well (mass.fx.network.blending): how far behind the best a phase may lie, as a share of its energy; 0.005,
            say. For some origins alone, a dict of their names (`mass.record_origins`) and shares. Only for the rule l2,
            and for outputs that are one for each image, at the input's resolution or without positions. Gradients are those of
            a mean by these weights: the weights themselves have none.
        paths: at most how many choices an image is averaged over. Where more nearly tie, the weakest are left out, with
            weights that vanish before; only where more tie exactly than there are paths does the output jump.
        dims: the axes of positions along which it is to be equivariant: the last two, of a signal the last, unless this is
            (2, 3, 4): of volumes (B, C, D, H, W), in depth as well. In depth the whole volume is the period (mass.fx.depth): it is moved
            to a position read off its planes, `mass_plane`, seen there with the original's borders, and outputs are shifted back.
        methods: further methods of the model that are to be converted, over the same parameters (`forward_features`,
            `encode`): names, of methods called as the model is, or a dict of names and what each is called with. Other
            methods refuse tensors in the copy (mass.fx.network.likeness).

    Raises:
        NotEquivariantError: names the operation that cannot be converted, the reason and the way out.
        TypeError, ValueError: for a wrong example or rule.
        AttributeError: for a method that the model does not have.

    Warns:
        CoordinatesWarning: an output was computed from the whole map (a linear layer on positions): coordinates in it, if it
            holds any, are relative to the origin that was chosen (`mass.output_origins`).

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.randn(1, 3, 16, 16)
    >>> mass_model = convert(model, x)
    >>> torch.equal(mass_model(x), mass_model(x.roll((3, 5), (2, 3))))
    True
    >>> audio = nn.Sequential(nn.Conv1d(1, 8, 80, 16), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()
    >>> x = torch.randn(1, 1, 1024)
    >>> mass_audio = convert(audio, x)
    >>> torch.equal(mass_audio(x), mass_audio(x.roll(5, 2)))
    True
    """
    if (family := family_of(model)) is not None:
        return family.convert(
            model,
            example_input,
            origin=origin,
            verify=verify,
            symmetrise=symmetrise,
            blend=blend,
            paths=paths,
            dims=dims,
            methods=methods,
        )
    if origin not in (*RULES, "zero"):
        raise ValueError(f"unknown origin rule {origin!r}; choose one of {', '.join(RULES)} or zero.")
    require_plain(model)
    example = as_example(example_input)
    if told := about_axes(model, example.values[0]):
        warnings.warn(f"{told}.", UserWarning, stacklevel=2)
    in_depth = _in_depth(dims, example.values[0].ndim)
    if in_depth and (symmetrise or blend):
        name = "symmetrise" if symmetrise else "blend"
        raise ValueError(f"{name} averages over rows and columns alone; leave it False, or dims as it is.")
    _check_blend(blend, paths, origin)
    options = _Options(origin, verify, symmetrise, in_depth, blend, paths)
    networks = _named(model, methods, example)
    converted = _converted(model, example, options)
    converted.mass_become(type(model))
    converted.mass_networks = {name: _converted(model, value, options) for name, value in networks.items()}
    for network in converted.mass_networks.values():
        tie(converted, network)
    for name, network in {"": converted, **converted.mass_networks}.items():
        told = about_coordinates([path for path, lattice in network.mass_outputs.items() if not lattice.axes])
        if told:
            warnings.warn(f"{name}: {told}" if name else told, CoordinatesWarning, stacklevel=2)
    return converted


@dataclass(frozen=True)
class _Options:
    """How to convert, as `convert` was told."""

    origin: str
    verify: bool
    symmetrise: bool
    in_depth: bool
    blend: float | Mapping[str, float]
    paths: int


def _in_depth(dims: Sequence[int] | None, rank: int) -> bool:
    """Whether a network is to be equivariant in depth as well.

    Raises:
        ValueError: for axes of which that is not known how to do.
    """
    usual = POSITIONS[rank]
    if dims is None or tuple(dims) == usual:
        return False
    if rank == 5 and tuple(dims) == (2, 3, 4):
        return True
    others = " or (2, 3, 4), in depth as well" if rank == 5 else ""
    raise ValueError(f"dims of an example of {rank} axes must be {usual}{others}, got {tuple(dims)}.")


def _named(model: nn.Module, methods: Sequence[str] | Mapping[str, Any], example: Example) -> dict[str, Example]:
    """The methods to be converted, and what each is called with."""
    if isinstance(methods, str):
        raise TypeError(f"methods must be several names or a dict, got {methods!r}; give ({methods!r},).")
    given = methods if isinstance(methods, Mapping) else dict.fromkeys(methods, example)
    for name in given:
        if not callable(getattr(model, name, None)):
            raise AttributeError(f"{type(model).__name__} has no method {name!r} that could be converted.")  # noqa: TRY004
        if name in called_by_a_trainer(type(model)):
            raise not_by_a_trainer(name)
    return {name: replace(as_example(value), method=name) for name, value in given.items()}


def _require_values(model: nn.Module, inputs: Inputs) -> None:
    """Refuse to verify anything without numbers."""
    if any(x.is_meta for x in (*model.parameters(), *model.buffers(), *inputs) if isinstance(x, Tensor)):
        raise ValueError(
            "tensors on the meta device have no values to verify with; give verify=False, and verify a copy that has."
        )


def _check_blend(blend: float | Mapping[str, float], paths: int, origin: str) -> None:
    check_counts(paths=paths)
    if paths != _PATHS and not blend:
        raise ValueError(
            f"paths={paths} says over how many choices to average, and blend is {blend!r}; give blend, or leave paths."
        )
    for share in blend.values() if isinstance(blend, Mapping) else (blend,):
        if not isinstance(share, int | float) or not 0 <= share < 1:
            raise ValueError(f"blend is a share of the best phase's energy, at least 0 and below 1; got {share!r}.")
    if blend and origin != "l2":
        raise ValueError(f"blend weighs phases by their energy, which the rule {origin!r} does not read; use 'l2'.")


def _converted(model: nn.Module, example: Example, options: _Options) -> Converted:
    """One graph of a model: of its forward, or of the example's method."""
    if options.verify:
        _require_values(model, example.values)
        example = in_range(model, example)
    inputs = example.values
    found = planned(model, example)
    traced = found.traced
    if call_heads_whole(traced, found.plan):
        note_shapes(traced, inputs)
    for call in traced.mass_calls:
        drop_traced(traced.get_submodule(call.path))
    if options.verify:
        verify_trace(model, traced, example)
    if found.plan.refusals:
        raise found.plan.refusals[0][1]
    try:
        converted, wraps = _rewritten(copied(traced), inputs, options)
    except NoLongerFits:  # layers that count positions
        converted, wraps = _rewritten(copied(traced), inputs, options, keep_sizes=True)
    if options.verify:
        gate, moves = Gate(converted, traced, wraps, inputs), options.origin != "zero"
        gate.check(moves)
        require_kernels(converted, inputs)
        if converted.mass_only_size is None and (reason := only_at_this_size(model, traced, gate, example, moves)):
            converted.mass_only_size = OnlySize(tuple(inputs[0].shape[2:]), reason)
    if converted.mass_only_size is not None:
        images = next(n for n in converted.graph.nodes if n.op == "placeholder")
        entrance: Any = module_of(inside_of(images))
        entrance.only_size = converted.mass_only_size
    drop_unread(converted)
    if options.in_depth and options.origin != "zero":
        move_in_depth(converted, inputs, options.verify)
    if options.blend:
        shares = _shares(converted, options.blend)
        converted.mass_blend = blended(converted, inputs, shares, options.paths, options.verify)
    converted.mass_stand_for(model, inputs[0], example.positional(model))
    return converted


def _shares(converted: Converted, blend: float | Mapping[str, float]) -> dict[str, float]:
    """What may lie how far behind, by the names of a network's origins."""
    names = [n for n, m in converted.named_children() if isinstance(m, SelectOrigin)]
    if not isinstance(blend, Mapping):
        return dict.fromkeys(names, float(blend))
    if unknown := sorted(set(blend) - set(names)):
        raise ValueError(f"blend names {', '.join(unknown)}; the origins of this network are {', '.join(names)}.")
    return {name: float(share) for name, share in blend.items()}


def _rewritten(
    traced: Converted, inputs: tuple[Any, ...], options: _Options, keep_sizes: bool = False
) -> tuple[Converted, set[str]]:
    """The rewritten graph, and the names of the operations whose borders wrap."""
    plan = infer(traced, keep_sizes)
    if plan.refusals:
        raise plan.refusals[0][1]
    wraps = {n.name for n, effect in plan.effects.items() if effect.swap is not None}
    operations = {str(n.target) for n in traced.graph.nodes if n.op == "call_module" and meets_map(n, plan)}
    of_one_position = next((node.name for node, effect in plan.effects.items() if effect.spreads_one_position), "")
    rewriter = Rewriter(plan, options.origin)
    converted = rewriter.run()
    if of_one_position and options.origin != "zero":
        reason = f"the map that '{of_one_position}' spreads is one position in the example, and has no origin"
        converted.mass_only_size = OnlySize(tuple(inputs[0].shape[2:]), reason)
    moved_back = {node.name: restored.name for node, restored in rewriter.restored.items()}
    converted.mass_calls = tuple(call.renamed(lambda name: moved_back.get(name, name)) for call in converted.mass_calls)
    if options.symmetrise:
        _symmetrise(converted)
    fuse_shifts(converted)
    check_runs(converted, inputs)
    converted.mass_places = Places(converted, {call.path for call in converted.mass_calls}, operations)
    return converted, wraps


def _symmetrise(module: fx.GraphModule) -> None:
    """Average every output on the input's own lattice over the input's symmetries; refuse coarser maps."""
    graph = module.graph
    inputs = [n for n in graph.nodes if n.op == "placeholder"]
    source = next((n for n in graph.nodes if n.target == "mass_source"), inputs[0])
    output = graph.output_node()
    for node in returned(graph):
        positions = node.meta.get("positions")
        if positions is None:
            continue
        if positions.digits or positions.fine != (1, 1) or positions.dims != POSITIONS.get(len(node.meta["shape"])):
            raise NotEquivariantError(
                place_of(node), "symmetrise needs outputs at the input's resolution", "leave it False"
            )
        user = next(user for user in node.users if user is output or user.target == "mass_output")
        with graph.inserting_before(user):
            module.add_submodule("mass_symmetrise", Symmetrise(positions.dims))
            averaged = graph.call_module("mass_symmetrise", (node, source))
        user.replace_input_with(node, averaged)
        averaged.meta.update({key: node.meta[key] for key in ("shape", "positions")})
    module.recompile()
