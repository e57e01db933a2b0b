"""The gate of a conversion: four equalities, checked on several inputs before anybody gets the converted network.

1. The trace is the model: on the example and on other inputs, in eval and in train mode, both give the same
   (mass.fx.verification.verify_trace).
2. The rewriting is the trace: with all origins at zero, every operation gives what the plain network with circular
   borders gives (mass.fx.verification.reference, which knows nothing of lattices), in float64.
3. What is computed moves as it should: node by node under several shifts, and every output, in whatever structure and
   dtype, as the plain network's with circular borders does under multiples of the total stride.
4. In the example's own dtype, the compiled kernels give what PyTorch's code gives (mass.fx.verification.kernels).

The first operation that disagrees is named. What is compared are samples of inputs and shifts (chosen to tell: mass.fx.verification.shifts), 2 and 3
in float64, and in eval mode: enough to catch a wrong rule, mark, trace or kernel, and no statement about bits; those `certify` compares.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Dims, Pair
from mass.errors import NotEquivariantError, as_pair
from mass.fx.interpreter import copies
from mass.fx.network.converted import Converted
from mass.fx.nodes import place_of
from mass.fx.tracing.example import Inputs
from mass.fx.verification.batches import require_apart
from mass.fx.verification.beside import require_moving
from mass.fx.verification.fits import PAD
from mass.fx.verification.probes import Probes, awake
from mass.fx.verification.recording import NOISE, Comparer, Recorder
from mass.fx.verification.reference import Reference
from mass.fx.verification.shifts import between, coarse_step, telling
from mass.motion import Motion, alike, cancelled, distance, is_noise, motions, observed
from mass.nn.evaluating import drawing_alike, state_kept
from mass.nn.graph.alignment import SelectOrigin
from mass.structure import leaves

# Float64 rounding is about 1e-13 of a map's maximum, more in badly conditioned networks; a wrong origin moves it by
# 1e-3 and more.
_TOLERANCE = 1e-7
_COARSE_TOLERANCE = 1e-3


def _shapes(output: Any) -> list[tuple[int, ...]]:
    return [tuple(y.shape) for _, y in leaves(output) if isinstance(y, Tensor)]


class Gate:
    """Equalities 2 and 3 of a rewritten graph, in float64 and eval mode.

    Args:
        converted: the rewritten graph.
        traced: the graph before it was rewritten, of modules that the rewriting left alone.
        wraps: names of the operations whose borders wrap.
        inputs: the example.
    """

    def __init__(self, converted: Converted, traced: Converted, wraps: set[str], inputs: Inputs) -> None:
        self.probes, self.wraps = Probes(inputs), wraps
        self.stride = as_pair(converted.total_stride, "total_stride")
        self._copy(converted, traced, precise=True)
        try:
            rounds = self._rounds()
        except (RuntimeError, ValueError):  # it casts, or asks for the dtype: as precisely as it computes itself
            self._copy(converted, traced, precise=False)
            rounds = True
        self.tolerance = _COARSE_TOLERANCE if rounds else _TOLERANCE

    def _copy(self, converted: Converted, traced: Converted, precise: bool) -> None:
        self.precise = precise
        self.converted, self.traced = copy.deepcopy((converted, traced))
        for module in (self.converted, self.traced):
            awake(module)
            (module.double() if precise else module).eval()
        self.moving = self._precise(self.probes.moving())

    def _rounds(self) -> bool:
        """Whether a part of it computes in less than float64, as behind a cast to float32."""
        recorder = Recorder(self.traced)
        with torch.no_grad():
            recorder.run(*self.moving)
        return any(
            isinstance(y, Tensor) and y.is_floating_point() and y.dtype != torch.float64 for y in recorder.kept.values()
        )

    def _precise(self, inputs: Inputs) -> Inputs:
        if not self.precise:
            return inputs
        return tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)

    def _run(self, module: nn.Module, inputs: Inputs) -> Any:
        with torch.no_grad(), state_kept(module), drawing_alike(inputs):
            return module.forward(*copies(inputs))  # a call of it would print what fails, which here is an answer

    def check(self, moves: bool = True) -> None:
        """Check both; without `moves`, only equality 2 (origins that stay at zero are no equivariant choice).

        Raises:
            NotEquivariantError: naming the first operation or output that disagrees.
        """
        with torch.no_grad():
            plain = self._rewriting()
            if not moves:
                return
            shifts, ours = self._nodes()
            around = any(n <= s and n > 1 for n, s in zip(self.probes.size, self.stride, strict=True))
            larger = self._larger() if around else None  # a step of the coarsest lattice leads around the whole image
            self._across_images(around)
            self._beside()
            if larger is None:
                self._outputs(self.probes, self.moving, plain, shifts, ours)
                return
            self._outputs(*larger)
            if any(shifts[0]):  # along the other axis it does not
                self._outputs(self.probes, self.moving, plain, shifts, ours, further=False)

    def _across_images(self, around: bool) -> None:
        """Images of a batch do not work together, which an example of one does not show; `around`: a step of the coarsest lattice leads
        around the image, and a larger one is asked."""
        probes = Probes(self.probes.doubled()) if around else self.probes
        inputs = probes.of_batch(max(2, len(self.moving[0])))
        if inputs is None:
            return
        probes = Probes(inputs)
        inputs = self._precise(probes.moving())
        try:
            self._run(self.traced, inputs)
        except Exception:  # noqa: BLE001 - a model of one image, or of one size
            return
        require_apart(self._reference, probes, inputs, self._shifts(probes)[0], self.tolerance)

    def _beside(self) -> None:
        """What is given beside the images and moves with them is meant to."""
        names = tuple(str(n.target) for n in self.traced.graph.nodes if n.op == "placeholder")
        step = self._shifts(self.probes)[0]
        if any(step):
            require_moving(self._plain, self.probes, self.moving, step, names, self.tolerance)

    def check_larger(self, inputs: Inputs, where: str, moves: bool = True) -> None:
        """Both for noise of a larger size, of outputs alone, the last thing that a gate is asked; `where`: which size, in words.

        In single precision, which tells what was frozen in a part of the time. Nothing is said where the network does not run on it.

        Raises:
            NotEquivariantError: naming the output that disagrees; where the network runs and the plain one, by which it would be
                judged, does not.
        """
        if self.probes.inputs[0].dtype == torch.float32:
            self.converted.float(), self.traced.float()
            self.precise, self.tolerance, self.moving = False, _COARSE_TOLERANCE, self.probes.moving()
        inputs = self._precise(inputs)
        probes = Probes(inputs)
        with torch.no_grad():
            shifted = [probes.shifted(inputs, t) for t in self._shifts(probes)] if moves else []
            try:
                ours = [self._run(self.converted, x) for x in (inputs, *shifted)]
            except Exception:  # noqa: BLE001 - what refuses this size says so when it is run
                return
            try:
                plain = self._plain(inputs)
                with self._at_zero():
                    rewritten = self._run(self.converted, inputs)
                before = [_shapes(self._run(module, self.moving)) for module in (self.traced, self.converted)]
                after = [_shapes(self._run(self.traced, inputs)), _shapes(ours[0])]
            except Exception as error:
                first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
                reason = f"{where} it runs, and the plain network does not ({first})"
                raise NotEquivariantError("", reason) from error
            if before[0] == before[1] and after[0] != after[1]:
                reason = f"{where} it returns {after[1]} where the model returns {after[0]}"
                raise NotEquivariantError("", reason)
            if not all(y.isfinite().any() for _, y in leaves(plain) if isinstance(y, Tensor) and y.numel()):
                raise NotEquivariantError("", f"{where} nothing finite comes out of noise, and so nothing was compared")
            self._same_outputs(plain, rewritten, f"{where}, ")
            if moves:
                self._outputs(probes, inputs, plain, self._shifts(probes), ours, where=where)

    def _reference(self, inputs: Inputs) -> Reference:
        reference = Reference(self.traced, self.wraps, len(self.probes.dims))
        try:
            reference.run(*inputs)
        except RuntimeError as error:
            failed = next(place_of(n) for n in self.traced.graph.nodes if n.name not in reference.kept)
            first = str(error).splitlines()[0].rstrip(".")
            reason = (
                f"the plain network does not run when borders wrap and every stride s gives H / s outputs ({first})"
            )
            raise NotEquivariantError(failed, reason, PAD) from error
        return reference

    def _plain(self, inputs: Inputs) -> Any:
        """What the plain network with circular borders returns."""
        return self._reference(inputs).kept["output"]

    def _rewriting(self) -> Any:
        """With origins at zero, every operation gives what the plain network with circular borders gives; what that returns."""
        with self._at_zero():
            for inputs in (self._precise(self.probes.sparse()), self.moving):
                reference = self._reference(inputs)
                recorder = Recorder(self.converted)
                recorder.run(*inputs)
                self._same_nodes(reference, recorder)
        return reference.kept["output"]

    @contextmanager
    def _at_zero(self) -> Iterator[None]:
        """All origins at zero."""
        chosen = [m for m in self.converted.modules() if isinstance(m, SelectOrigin)]
        rules = [m.rule for m in chosen]
        for module in chosen:
            module.rule = "zero"
        try:
            yield
        finally:
            for module, rule in zip(chosen, rules, strict=True):
                module.rule = rule

    def _same_nodes(self, reference: Reference, recorder: Recorder) -> None:
        remedy = "report it: the operation was rewritten wrongly"
        nodes = {n.name: n for n in self.traced.graph.nodes}
        for name, expected in reference.kept.items():
            found = recorder.kept.get(name)
            if not isinstance(expected, Tensor) or not isinstance(found, Tensor) or name in reference.before:
                continue
            if not expected.is_floating_point():
                continue  # indices of a max pooling count otherwise; other integers are compared where they leave
            if expected.shape != found.shape:
                reason = (
                    f"with origins at zero it gives {tuple(found.shape)}, the plain network {tuple(expected.shape)}"
                )
                raise NotEquivariantError(place_of(nodes[name]), reason, remedy)
            difference, scale = distance(expected, found)
            read = [reference.kept.get(n.name) for n in nodes[name].all_input_nodes]
            if not difference <= max(self.tolerance * scale, cancelled(self.tolerance, read)):
                reason = f"with origins at zero it differs from the plain network, its borders circular, by {difference:.2g} (of {scale:.2g})"
                noise = is_noise(max(difference, scale), self.tolerance, reference.kept.values())
                raise NotEquivariantError(place_of(nodes[name]), reason, NOISE if noise else remedy)
        self._same_outputs(reference.kept["output"], recorder.kept["output"])

    def _same_outputs(self, plain: Any, rewritten: Any, where: str = "") -> None:
        for (path, expected), (_, found) in zip(leaves(plain), leaves(rewritten), strict=True):
            if isinstance(expected, Tensor) and not alike(expected, found, self.tolerance):
                reason = f"{where}with origins at zero output '{path}' is not the plain network's, its borders circular"
                raise NotEquivariantError("", reason, "report it: the operation was rewritten wrongly")

    def _shifts(self, probes: Probes) -> list[Pair]:
        return [coarse_step(probes.size, self.stride), between(probes.size, self.stride)]

    def _nodes(self) -> tuple[list[Pair], list[Any]]:
        """Every node holds on shifted input what it held, moved; the shifts, and what is returned for the input and for each of them."""
        recorder = Recorder(self.converted)
        outputs = [recorder.run(*self.moving)]
        shifts = [coarse_step(self.probes.size, self.stride)]
        shifts += telling(recorder.lattices(), self.probes.size, self.stride)
        for t in shifts:
            comparer = Comparer(self.converted, recorder.kept, t, self.tolerance)
            outputs.append(comparer.run(*self.probes.shifted(self.moving, t)))
        return shifts, outputs

    def _larger(self) -> tuple[Probes, Inputs, Any, list[Pair], list[Any]] | None:
        """Noise of twice the example's size, what the plain network returns for it, and ours for it and for each shift.

        None for a network of one size: what it cannot be asked is not compared.
        """
        inputs = self._precise(self.probes.doubled())
        probes = Probes(inputs)
        try:
            plain = self._plain(inputs)
            shifts = self._shifts(probes)
            asked = [inputs, *(probes.shifted(inputs, t) for t in shifts)]
            return probes, inputs, plain, shifts, [self._run(self.converted, x) for x in asked]
        except Exception:  # noqa: BLE001
            return None

    def _outputs(
        self, probes: Probes, inputs: Inputs, plain: Any, shifts: list[Pair], ours: list[Any], further: bool = True, where: str = "",
    ) -> None:  # fmt: skip
        """Every output moves as the plain network's does under multiples of the total stride, and so under all shifts.

        Args:
            shifts: a multiple of the total stride, and others; ours: what is returned for the inputs and for each of them.

        Without `further`, under the first alone: along one axis, they do not tell what happens along the other. Where the plain
        network's does not move in any way, ours is not asked under the former; at another size, said by `where`, it is: the total
        stride may be another one there.
        """
        step = shifts[0]
        before, *moves = (dict(leaves(output)) for output in ours)
        size, axes = probes.size, len(probes.dims)
        tells = any(step[2 - axes :])
        theirs = dict(leaves(plain))
        moved = dict(leaves(self._plain(probes.shifted(inputs, step)))) if tells else theirs
        for path, y in before.items():
            if not isinstance(y, Tensor):
                continue
            name = (f"{where}, " if where else "") + (f"output '{path}'" if path else "the output")
            known = observed(theirs[path], moved[path], step, size, axes, self.tolerance) if tells else []
            possible = motions(tuple(y.shape), size, axes)
            whole = [motion for motion in possible if len(set(motion.axes)) == 2 and motion.shape == size]
            lattice = self.converted.mass_outputs.get(path)
            if tells and not known and lattice is not None and len(lattice.axes) == 2:
                self._require_own_axes(theirs[path], moved[path], lattice.axes, step, size, name)
            if not known and whole and axes == 2:  # it has the image's rows and columns: staying would be no answer
                known = whole
            for t, found in list(zip(shifts, moves, strict=True))[: None if further else 1]:
                may = known or (possible if where or t != step else [])
                if may and not any(self._is(motion, y, found[path], t, size) for motion in may):
                    there = may[-1]
                    how = f"the plain network's {f'moves along axes {there.axes}' if there.axes else 'stays as it is'}"
                    if known is whole:
                        how = "what has its rows and columns should move along"
                    reason = (
                        f"{name} of shape {tuple(y.shape)} does not move with the image: under a shift by {t} {how}"
                    )
                    remedy = "return a map that has its rows and columns, or reduce over positions"
                    if whole and y.ndim == len(inputs[0].shape) - 1:  # nothing tells them from features of tokens
                        remedy = (
                            "if it has the image's rows and columns, return it with an axis of channels, y[:, None]"
                        )
                    raise NotEquivariantError("", reason, remedy)

    def _require_own_axes(self, y: Tensor, moved: Tensor, axes: Dims, t: Pair, size: Pair, name: str) -> None:
        """Axes that are moved back as rows and columns are not others that happen to be as long: rows twice (a product of a map with its
        transpose), or turned around."""
        held = [y.shape[axis] for axis in axes]
        rows, columns = (by * n // whole for by, n, whole in zip(t, held, size, strict=True))
        for steps in itertools.product({rows, -rows, columns, -columns, 0}, repeat=2):
            by = steps[0] % held[0], steps[1] % held[1]
            if by in ((0, 0), (rows % held[0], columns % held[1])):  # it stays, or moves as it should
                continue
            if alike(y.roll((-by[0], -by[1]), axes), moved, self.tolerance):
                reason = f"{name} of shape {tuple(y.shape)} moves otherwise than the image: under a shift by {t} "
                reason += f"the plain network's moves by {by} along axes {axes}"
                raise NotEquivariantError(
                    "", reason, "return what has the image's rows and columns, or reduce over positions"
                )

    def _is(self, motion: Motion, y: Tensor, moved: Tensor, t: Pair, size: Pair) -> bool:
        """Whether an output moved in this way, each image by steps of its own where origins are not told."""
        if not motion.axes:
            return alike(y, moved, self.tolerance)
        steps = motion.steps(t, size)
        tried = [steps] if steps is not None else list(motion.around(t, size))
        candidates = [motion.apply(y, k) for k in tried]
        batch = [slice(i, i + 1) for i in range(len(y))] if 0 not in motion.axes else [slice(None)]
        return all(any(alike(c[i], moved[i], self.tolerance) for c in candidates) for i in batch)
