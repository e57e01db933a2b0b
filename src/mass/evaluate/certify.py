"""Certificates: does this model give the same output for these images wherever they lie?

A converted network is exact by construction, up to the kernels it runs on. `certify` checks the construction and the
kernels together, bit by bit: all shifts that the model can tell apart, or a sample of them. Shifts are compared at equal
batch size with each image in the same row, because kernels may treat rows differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Pair
from mass.evaluate.certificate import Certificate, ComparedOutput, Outcome
from mass.evaluate.comparison import STAYS, OutputComparison
from mass.evaluate.inputs import ModelInputs, model_inputs
from mass.evaluate.origins import RecordedOrigin, record_origins
from mass.evaluate.progress import Progress
from mass.evaluate.shifts import Shifts, are_all, shifts_to_try, told_apart
from mass.functional.origin import margin
from mass.fx.converted import Converted
from mass.nn.alignment import SelectOrigin
from mass.nn.evaluating import evaluating
from mass.structure import leaves

# Above this share of the largest output another grid was picked; below it the same numbers were rounded differently.
_GROSS = 1e-3


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
    outputs were compared as what, and CERTIFIED only where all residues were tried; a sample is IDENTICAL. Before all
    shifts the model runs twice on the same images: one that gives something else is named as not deterministic.

    Args:
        model: any model; evaluated in eval mode without gradients. Every tensor of its output, in nested dicts, sequences,
            named tuples and dataclasses, is compared: what has the image's rows and columns or a multiple of them, on any
            two neighbouring axes, must move along; coarser maps and tokens must move along on their lattice, or
            stay; all else must stay.
        images: what it is called with. A tensor: images (B, C, H, W), videos (B, C, T, H, W), or signals (B, C, L), whose
            shifts are (0, t). A tuple: positional inputs, images first. A dict: keyword inputs; the first floating-point
            tensor with three axes or more is the images. Other inputs of their axes and size, as masks, move along. Anything
            else that can be iterated, a list or a `DataLoader`, holds batches: each is a tensor, a dict, or (x, y, …)
            of which x is taken, a tensor, tuple or dict.
        shifts: None for all residues that the model can tell apart: those of the total stride of every origin that it
            chooses, all shifts of the image where an origin has the whole map as period, or the model was not
            converted. More than 4,096 are sampled, unless this is 'all'. Each residue has a random multiple added. Or
            an int for so many random shifts; or pairs (rows, columns).
        stop: at the first shift under which an output differs.
        progress: a line on stderr with the time left; by default on a terminal, once it has taken some seconds.

    Raises:
        TypeError, ValueError: for anything but non-empty floating-point batches, and for a model whose output holds no
        tensor. NaN and infinity are reported in the certificate.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.rand(2, 3, 16, 16)
    >>> bool(certify(model, x, shifts=4))
    False
    >>> import mass
    >>> certificate = certify(mass.convert(model, x), x)
    >>> certificate.outcome.name, certificate.verdict
    ('CERTIFIED', 'CERTIFIED: bit-identical output for 2 of 2 images under all 16 residues modulo 4 x 4.')
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}.")
    line, found = Progress(progress), list[_Batch]()
    if not isinstance(shifts, int | str | None):
        shifts = list(shifts)
    with evaluating(model):
        try:
            for k, inputs in enumerate(model_inputs(images)):
                line.begin(f"batch {k + 1}, " if found else "")
                found.append(_Batch(model, inputs, shifts))
                if not found[-1].run(stop, line) and (stop or not found[-1].repeats):
                    break
        finally:
            line.end()
    return _certificate(model, found, stop)


@dataclass
class _Batch:
    """One batch under all shifts."""

    model: nn.Module
    inputs: ModelInputs
    shifts: str | int | Shifts | None
    outputs: list[OutputComparison] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)
    origins: list[RecordedOrigin] = field(default_factory=list)
    residues: Pair = (1, 1)
    tried: Shifts = field(default_factory=list)
    repeats: bool = True
    same_structure: bool = True

    def run(self, stop: bool, line: Progress) -> bool:
        """Whether every output is what it should be under every shift."""
        with record_origins(self.model, lambda maps, period: (margin(maps, period), maps.shape[2:])) as passes:
            self._first(self.inputs.call(self.model))
        self.origins = passes[0] if passes else []
        sizes = [(kept[0], kept[1]) for kept in (origin.kept[1] for origin in self.origins)]
        self.residues = told_apart(self.model, self.origins, sizes, self.inputs.size)
        planned = shifts_to_try(self.shifts, self.inputs.size, self.residues)
        self.repeats = self._see((0, 0))
        if not self.repeats:
            return False
        holds = True
        for done, t in enumerate(planned, 1):
            self.tried.append(t)
            holds &= self._see(t)
            line.step(done, len(planned))
            if stop and not holds:
                break
        return holds

    def _first(self, output: Any) -> None:
        """What the outputs are: all tensors, and numbers beside them."""
        found = list(leaves(output))
        tensors = [y for _, y in found if isinstance(y, Tensor)]
        count = len(self.inputs.images)
        if not tensors:
            raise ValueError(
                f"no tensor was found in the model's output, of type {type(output).__name__}: nothing to compare."
            )
        if all(y.ndim > 0 and len(y) not in (1, count) for y in tensors):
            raise ValueError(
                f"the model returns {len(tensors[0])} rows for {tuple(self.inputs.images.shape)}; for a single image add the "
                "batch axis."
            )
        for path, y in found:
            value = _as_tensor(y)
            if value is not None:
                self.outputs.append(OutputComparison(path, value.clone(), self.inputs))
            elif not isinstance(y, str | None):
                self.not_compared.append(f"'{path}' ({type(y).__name__})")

    def _see(self, t: Pair) -> bool:
        """Compare all outputs under a shift."""
        found = {path: _as_tensor(y) for path, y in leaves(self.inputs.call(self.model, t))}
        known = {output.path for output in self.outputs}
        self.same_structure &= known >= {path for path, y in found.items() if y is not None}
        holds = [output.see(found.get(output.path), t) for output in self.outputs]
        return all(holds) and self.same_structure

    @property
    def count(self) -> int:
        return len(self.inputs.images)

    def identical(self) -> Tensor:
        same = torch.stack([output.best.identical for output in self.outputs]).all(0)
        return same & self.same_structure

    def difference(self) -> Tensor:
        largest = torch.stack([output.best.difference for output in self.outputs]).amax(0)
        return largest if self.same_structure else torch.full_like(largest, torch.inf)

    def not_finite(self) -> list[int]:
        return sorted({*self.inputs.not_finite(), *(row for output in self.outputs for row in output.not_finite())})

    def symmetry(self) -> list[Pair | None]:
        """Per image, the symmetry that explains why outputs differ; None where they do not, or nothing explains it."""
        found: list[Pair | None] = []
        for row in range(self.count):
            of_row = [o.best.symmetry.get(row) for o in self.outputs if not o.best.identical[row]]
            explained = [g for g in of_row if g is not None]
            whole = len(explained) == len(of_row) and bool(explained) and self.same_structure
            found.append(min(explained, key=self.inputs.symmetries(row).index) if whole else None)
        return found

    def margins(self) -> Tensor:
        """Per image, the smallest margin of the origins chosen by energies; NaN where none is."""
        selected = [o for o in self.origins if isinstance(self.model.get_submodule(o.name), SelectOrigin)]
        margins = [kept for kept in (origin.kept[0].cpu() for origin in selected) if len(kept) == self.count]
        return torch.stack(margins).amin(0) if margins else torch.full((self.count,), torch.nan, dtype=torch.float64)

    def compared(self) -> list[ComparedOutput]:
        """Every output, and as what it was compared."""
        inner = getattr(self.model, "_orig_mod", self.model)
        lattices = inner.outputs if isinstance(inner, Converted) else {}
        found = []
        for output in self.outputs:
            motion, size = output.best.motion, self.inputs.size
            stride = None
            if motion.axes and all(n <= whole for n, whole in zip(motion.shape, size, strict=True)):
                stride = size[0] // motion.shape[0], size[1] // motion.shape[1]
            lattice = lattices.get(output.path)
            whole = motion == STAYS and lattice is not None and not lattice.axes
            stayed = output.stayed_put and not bool(output.best.identical.all())
            found.append(ComparedOutput(output.path, tuple(output.y.shape), motion, stride, whole, stayed))
        return found


def _as_tensor(value: Any) -> Tensor | None:
    """A tensor, or a number as one."""
    return (
        value if isinstance(value, Tensor) else torch.tensor(value) if isinstance(value, bool | int | float) else None
    )


def _certificate(model: nn.Module, batches: list[_Batch], stop: bool) -> Certificate:
    first = batches[0]
    identical = torch.cat([batch.identical() for batch in batches])
    difference = torch.cat([batch.difference() for batch in batches])
    symmetry = [g for batch in batches for g in batch.symmetry()]
    starts = [sum(batch.count for batch in batches[:k]) for k in range(len(batches))]
    broken = [start + row for start, batch in zip(starts, batches, strict=True) for row in batch.not_finite()]
    difference[broken], identical[broken] = torch.nan, False
    outputs = first.compared()
    shifts = first.tried if all(batch.tried == first.tried for batch in batches) else batches[-1].tried
    return Certificate(
        outcome=_outcome(batches, identical, symmetry, broken, outputs),
        identical=identical,
        max_difference=difference,
        margin=torch.cat([batch.margins() for batch in batches]),
        symmetry=symmetry,
        shifts=shifts,
        residues=first.residues,
        outputs=outputs,
        not_compared=first.not_compared,
        not_finite=broken,
        worst=next((o.best.worst for batch in batches for o in batch.outputs if o.best.worst), None),
        stopped=stop and not bool(identical.all()),
    )


def _outcome(
    batches: list[_Batch],
    identical: Tensor,
    symmetry: list[Pair | None],
    broken: list[int],
    outputs: list[ComparedOutput],
) -> Outcome:
    """What it comes to."""
    if broken:
        return Outcome.NOT_FINITE
    if not all(batch.repeats for batch in batches):
        return Outcome.NONDETERMINISTIC
    if bool(identical.all()):
        complete = all(are_all(batch.tried, batch.residues) for batch in batches)
        return Outcome.CERTIFIED if complete else Outcome.IDENTICAL
    if all(bool(same) or g is not None for same, g in zip(identical, symmetry, strict=True)):
        return Outcome.UP_TO_SYMMETRY
    if any(output.stayed for output in outputs):
        return Outcome.STAYED
    floating = [o for batch in batches for o in batch.outputs if o.y.is_floating_point() or o.y.is_complex()]
    largest = max((o.best.difference.max().item() / (o.scale or 1.0) for o in floating), default=torch.inf)
    same_structure = all(batch.same_structure for batch in batches)
    return Outcome.ROUNDING if same_structure and 0 < largest <= _GROSS else Outcome.OTHER_PHASE
