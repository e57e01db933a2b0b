"""Certificates: does this model give the same output for these images wherever they lie?

A converted network is exact by construction, up to the kernels it runs on. `certify` checks the construction and the
kernels together, bit by bit: all shifts that the model can tell apart, or a sample of them. Shifts are compared at equal
batch size with each image in the same row, because kernels may treat rows differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Pair
from mass.errors import check_module
from mass.evaluate.certificate import Certificate, ComparedOutput, Outcome
from mass.evaluate.comparison import STAYS, OutputComparison
from mass.evaluate.inputs import ModelInputs, model_inputs, require_batches
from mass.evaluate.origins import RecordedOrigin, record_origins
from mass.evaluate.progress import Progress
from mass.evaluate.shifts import Shifts, are_all, given_shifts, shifts_to_try, told_apart
from mass.families import family_of
from mass.functional.origin.select import margin
from mass.fx.network.converted import Converted
from mass.nn.evaluating import evaluating
from mass.nn.graph.alignment import SelectOrigin
from mass.structure import leaves

# Above this share of the largest output another sampling phase was selected; below it the same numbers were rounded differently, if
# so many units of their dtype's rounding make it up.
_GROSS, _UNITS = 1e-3, 1024


def certify(
    model: nn.Module,
    images: Tensor | tuple | Mapping[str, Any] | Iterable,
    shifts: str | int | Iterable[Pair] | None = None,
    *,
    stop: bool = False,
    progress: bool | None = None,
) -> Certificate:
    """Compare a model's outputs, bit by bit, on images and on their circular shifts.

    `bool(certificate)` is the verdict, so a test says `assert mass.certify(model, images)`. The certificate says which
    outputs were compared as what, and CERTIFIED only where all residues were tried; a sample is BIT-IDENTICAL. Before all
    shifts the model runs twice on the same images: one that gives something else is named as not deterministic.

    Args:
        model: any model; evaluated in eval mode without gradients. Every tensor of its output, in nested dicts, sequences,
            named tuples and dataclasses, is compared: what has the image's rows and columns or a multiple of them, on any
            two neighbouring axes in either order, must move along; coarser maps and tokens must move along on their lattice, or
            stay; all else must stay.
        images: what it is called with. A tensor: images (B, C, H, W), videos (B, C, T, H, W), or signals (B, C, L), whose
            shifts are (0, t). A tuple: positional inputs, images first. A dict: keyword inputs; the first floating-point
            tensor with three axes or more is the images. Other inputs of their axes and size, as masks, move along. Anything
            else that can be iterated, a list or a `DataLoader`, holds batches: each is a tensor, a dict, or (x, y, …)
            of which x is taken, a tensor, tuple or dict. Of a detector, a list of images (C, H, W) is one batch
            (mass.detection.certify).
        shifts: None for all residues that the model can tell apart: those of the total stride of every origin that it
            chooses, all shifts of the image where an origin has the whole map as period, or the model was not
            converted. More than 4,096 are sampled, unless this is 'all'. Each residue has a random multiple added. Or
            an int for so many random shifts; or pairs (rows, columns). Volumes that a network converted for it (`dims=`) takes are
            moved in depth as well, by another number of planes each time.
        stop: at the first shift under which an output differs.
        progress: a line on stderr with the time left; by default on a terminal, once it has taken some seconds.

    Raises:
        TypeError, ValueError: for anything but non-empty floating-point batches, for a model whose output holds no
            tensor, for shifts by fractions, and for pairs that are all whole turns of the image. NaN and infinity are reported
            in the certificate.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.rand(2, 3, 16, 16)
    >>> bool(certify(model, x, shifts=4))
    False
    >>> import mass
    >>> certificate = certify(mass.convert(model, x), x)
    >>> certificate.outcome.name, certificate.verdict
    ('CERTIFIED', 'CERTIFIED: bit-identical output for 2 of 2 images under all 16 residues modulo 4 x 4.')
    """
    check_module(model)
    if (family := family_of(model)) is not None:
        return family.certify(model, images, shifts, stop=stop, progress=progress)
    line, found = Progress(progress), list[_Result]()
    shifts = given_shifts(shifts)
    with evaluating(model):
        try:
            for k, inputs in enumerate(model_inputs(images)):
                line.begin(f"batch {k + 1}, " if found else "")
                found.append(_Batch(model, inputs).run(shifts, stop, line))
                if not found[-1].repeats or (stop and not found[-1].holds):
                    break
        finally:
            line.end()
    return _certificate(found, stop)


@dataclass
class _Result:
    """What became of one batch; its tensors hold one value an image."""

    outcome: Outcome
    identical: Tensor
    difference: Tensor
    margin: Tensor
    symmetry: list[Pair | None]
    not_finite: list[int]
    tried: Shifts
    residues: Pair
    outputs: list[ComparedOutput]
    not_compared: list[str]
    worst: Pair | None
    repeats: bool
    holds: bool
    planes: Pair | None


class _Batch:
    """One batch under shifts."""

    def __init__(self, model: nn.Module, inputs: ModelInputs) -> None:
        self.model, self.inputs, self.count = model, inputs, len(inputs.images)
        self.outputs: list[OutputComparison] = []
        self.not_compared: list[str] = []
        self.same_structure = True
        inner = getattr(model, "_orig_mod", model)
        self.lattices = inner.mass_outputs if isinstance(inner, Converted) else {}
        self.planes = inner.mass_planes if isinstance(inner, Converted) else None  # of volumes, equivariant in depth
        self.depth = inputs.images.shape[2] if self.planes is not None else 1
        self.in_depth: set[int] = set()

    def run(self, shifts: str | int | Shifts | None, stop: bool, line: Progress) -> _Result:
        """The model on the images, on the same images again, and on them moved."""
        require_batches(self.model, self.inputs)
        with record_origins(self.model, lambda maps, period: (margin(maps, period), maps.shape[2:])) as passes:
            self._first(self.inputs.call(self.model))
        origins = passes[0] if passes else []
        maps = [(origin.kept[1][0], origin.kept[1][1]) for origin in origins]
        residues = told_apart(self.model, origins, maps, self.inputs.size)
        planned = shifts_to_try(shifts, self.inputs.size, residues, in_depth=self.depth > 1)
        if shifts is None or isinstance(shifts, str):
            planned *= -(-self.depth // len(planned))  # every shift in depth, beside one of these
        tried: Shifts = []
        holds = repeats = self._see((0, 0))
        for t in planned if repeats else ():
            tried.append(t)
            holds &= self._see(t, len(tried) % self.depth)
            line.step(len(tried), len(planned))
            if stop and not holds:
                break
        return self._result(origins, tried, residues, repeats, holds)

    def _first(self, output: Any) -> None:
        """What the outputs are: all tensors, and numbers beside them."""
        found = list(leaves(output))
        tensors = [y for _, y in found if isinstance(y, Tensor)]
        if not tensors:
            raise ValueError(
                f"no tensor was found in the model's output, of type {type(output).__name__}: nothing to compare."
            )
        for path, y in found:
            if isinstance(y, Tensor) and (y.layout != torch.strided or y.is_nested or y.is_quantized or y.is_meta):
                raise TypeError(
                    f"output '{path}' is a tensor of {_kind(y)}, which cannot be compared; return it dense."
                )
        if all(y.ndim > 0 and len(y) not in (1, self.count) for y in tensors):
            raise ValueError(
                f"the model returns {len(tensors[0])} rows for {tuple(self.inputs.images.shape)}; for a single image add the "
                "batch axis."
            )
        for path, y in found:
            value = _as_tensor(y)
            if value is not None:
                self.outputs.append(OutputComparison(path, value.clone(), self.inputs))
            elif y is not None:
                self.not_compared.append(f"'{path}' ({type(y).__name__})")

    def _see(self, t: Pair, planes: int = 0) -> bool:
        """Compare all outputs under a shift: whether all are what they should be. What moved in depth is moved back."""
        found = {path: _as_tensor(y) for path, y in leaves(self.inputs.call(self.model, t, planes))}
        self.in_depth.add(planes)
        for path, (axis, scale) in (self.planes or {}).items():
            if planes and (y := found.get(path)) is not None and y.ndim > axis:
                found[path] = y.roll(planes * scale, axis)
        known = {output.path for output in self.outputs}
        self.same_structure &= known >= {path for path, y in found.items() if y is not None}
        holds = [output.see(found.get(output.path), t) for output in self.outputs]
        return all(holds) and self.same_structure

    def _result(
        self, origins: list[RecordedOrigin], tried: Shifts, residues: Pair, repeats: bool, holds: bool
    ) -> _Result:
        identical = torch.stack([output.best.identical for output in self.outputs]).all(0)
        difference = torch.stack([output.best.difference for output in self.outputs]).amax(0)
        if not self.same_structure:
            identical, difference = torch.zeros_like(identical), torch.full_like(difference, torch.inf)
        broken = sorted({*self.inputs.not_finite(), *(row for output in self.outputs for row in output.not_finite())})
        difference[broken], identical[broken] = torch.nan, False
        symmetry, outputs = [self._symmetry(row) for row in range(self.count)], self._compared()
        if broken:
            outcome = Outcome.NOT_FINITE
        elif not repeats:
            outcome = Outcome.NONDETERMINISTIC
        elif bool(identical.all()):
            whole = are_all(tried, residues) and len(self.in_depth) == self.depth
            outcome = Outcome.CERTIFIED if whole else Outcome.IDENTICAL
        elif all(bool(same) or g is not None for same, g in zip(identical, symmetry, strict=True)):
            outcome = Outcome.UP_TO_SYMMETRY
        elif any(output.stayed for output in outputs):
            outcome = Outcome.STAYED
        else:
            outcome = Outcome.ROUNDING if self.same_structure and self._is_rounding() else Outcome.OTHER_PHASE
        # Those of origins chosen by energies alone.
        selected = [origin for origin in origins if isinstance(self.model.get_submodule(origin.name), SelectOrigin)]
        margins = [kept for kept in (origin.kept[0].cpu() for origin in selected) if len(kept) == self.count]
        return _Result(
            outcome=outcome,
            identical=identical,
            difference=difference,
            margin=torch.stack(margins).amin(0) if margins else torch.full((self.count,), torch.nan).double(),
            symmetry=symmetry,
            not_finite=broken,
            tried=tried,
            residues=residues,
            outputs=outputs,
            not_compared=self.not_compared,
            worst=max((output.best for output in self.outputs), key=lambda best: float(best.difference.max())).worst,
            repeats=repeats,
            holds=holds,
            planes=(len(self.in_depth), self.depth) if self.planes is not None else None,
        )

    def _symmetry(self, row: int) -> Pair | None:
        """The symmetry of an image that explains why its outputs differ; None if they do not, or nothing explains it."""
        differ = [output.best.symmetry.get(row) for output in self.outputs if not output.best.identical[row]]
        explained = [g for g in differ if g is not None]
        if not explained or len(explained) < len(differ) or not self.same_structure:
            return None
        return min(explained, key=self.inputs.symmetries(row).index)

    def _is_rounding(self) -> bool:
        """Whether outputs differ by so little that the same numbers were rounded; what is made of them may differ wholly."""
        floating = [output for output in self.outputs if output.y.is_floating_point() or output.y.is_complex()]
        largest = [output.best.difference.max().item() / (output.scale or 1.0) for output in floating]
        return 0 < max(largest, default=0.0) <= min(_GROSS, _UNITS * self._unit())

    def _unit(self) -> float:
        """The coarsest rounding of what is computed with: parameters, images and outputs, and what replaces their dtype meanwhile."""
        device = self.inputs.images.device.type
        if torch.is_autocast_enabled(device) or (device == "cuda" and torch.backends.cudnn.allow_tf32):
            return torch.finfo(torch.float16).eps  # about that of TF32
        tensors = [*self.model.parameters(), self.inputs.images, *(output.y for output in self.outputs)]
        return max(torch.finfo(x.dtype).eps for x in tensors if x.is_floating_point() or x.is_complex())

    def _compared(self) -> list[ComparedOutput]:
        """Every output, and as what it was compared."""
        found = []
        for output in self.outputs:
            motion, size = output.best.motion, self.inputs.size
            stride = None
            if motion.axes and all(n <= whole for n, whole in zip(motion.shape, size, strict=True)):
                stride = size[0] // motion.shape[0], size[1] // motion.shape[1]
            lattice = self.lattices.get(output.path)
            whole = motion == STAYS and lattice is not None and not lattice.axes
            stayed = output.stayed_put and not bool(output.best.identical.all())
            found.append(ComparedOutput(output.path, tuple(output.y.shape), motion, stride, whole, stayed))
        return found


def _kind(y: Tensor) -> str:
    if y.is_meta:
        return "the meta device"
    return "nested tensors" if y.is_nested else str(y.dtype if y.is_quantized else y.layout)


def _as_tensor(value: Any) -> Tensor | None:
    """A tensor, or a number as one."""
    return (
        value if isinstance(value, Tensor) else torch.tensor(value) if isinstance(value, bool | int | float) else None
    )


# Of several batches, the first of these says what it comes to.
_WORST = (
    Outcome.NOT_FINITE,
    Outcome.NONDETERMINISTIC,
    Outcome.STAYED,
    Outcome.OTHER_PHASE,
    Outcome.ROUNDING,
    Outcome.UP_TO_SYMMETRY,
    Outcome.IDENTICAL,
    Outcome.CERTIFIED,
)


def _certificate(batches: list[_Result], stop: bool) -> Certificate:
    """All batches together; outputs are described by the first of those with the worst outcome."""
    worst = min(batches, key=lambda batch: _WORST.index(batch.outcome))
    starts = [sum(len(batch.identical) for batch in batches[:k]) for k in range(len(batches))]
    return Certificate(
        outcome=worst.outcome,
        identical=torch.cat([batch.identical for batch in batches]),
        max_difference=torch.cat([batch.difference for batch in batches]),
        margin=torch.cat([batch.margin for batch in batches]),
        symmetry=[g for batch in batches for g in batch.symmetry],
        shifts=worst.tried,
        residues=worst.residues,
        outputs=worst.outputs,
        not_compared=worst.not_compared,
        not_finite=[start + row for start, batch in zip(starts, batches, strict=True) for row in batch.not_finite],
        worst=max(batches, key=lambda batch: float(batch.difference.nan_to_num(0.0).max())).worst,
        planes=worst.planes,
        stopped=stop and not all(batch.holds for batch in batches),
    )
