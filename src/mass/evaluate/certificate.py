"""What `mass.certify` found, and how it says so: a claim is as strong as its check."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from torch import Tensor

from mass.axes import Pair
from mass.evaluate.shifts import are_all
from mass.motion import Motion


class Outcome(enum.Enum):
    """What became of the outputs under circular shifts of the images; the value says it in words."""

    CERTIFIED = "bit-identical under all residues that the model can tell apart"
    IDENTICAL = "bit-identical under the shifts that were tried"
    UP_TO_SYMMETRY = "bit-identical, up to the input's own translation symmetry"
    ROUNDING = "the same numbers, rounded differently"
    OTHER_PHASE = "other numbers: a different sampling phase is selected, or borders show"
    STAYED = "an output with the image's rows and columns is not shifted"
    NOT_FINITE = "NaN or infinity"
    NONDETERMINISTIC = "other numbers without any shift"

    def __bool__(self) -> bool:
        return self in (Outcome.CERTIFIED, Outcome.IDENTICAL, Outcome.UP_TO_SYMMETRY)


@dataclass(frozen=True)
class ComparedOutput:
    """One output, and as what it was compared.

    Attributes:
        path: where it lies in what the model returns ('' if that is a tensor).
        shape: of the first batch.
        motion: how it follows the image; `Motion()` for what is invariant.
        stride: of its lattice in the input: (1, 1) for a map of the image's size, 8 x 8 for a heat map that is 8 times
            smaller; None for a finer map and for what is invariant.
        from_whole_map: computed from the whole map at its origin (`mass.output_origins`).
        stayed: it is invariant, though it has the image's rows and columns.
    """

    path: str
    shape: tuple[int, ...]
    motion: Motion
    stride: Pair | None
    from_whole_map: bool = False
    stayed: bool = False

    def __str__(self) -> str:
        name = f"'{self.path}' {self.shape}" if self.path else f"{self.shape}"
        if not self.motion.axes:
            note = "; computed from the whole map at its origin: coordinates in it are relative to that origin (mass.output_origins)"
            return f"{name} invariant" + note * self.from_whole_map
        axes = list(dict.fromkeys(self.motion.axes))
        along = f"ax{'e' if len(axes) > 1 else 'i'}s {' and '.join(map(str, axes))}"
        if axes != sorted(axes):
            along += " (its columns and rows are exchanged)"
        if self.stride is None or self.stride == (1, 1):
            return f"{name} equivariant along {along}"
        return f"{name} equivariant along {along}, on its lattice of stride {_product(self.stride)}"


@dataclass
class Certificate:
    """What `certify` found, per image. `bool(certificate)` is the verdict: `assert mass.certify(model, images)`.

    It is true as well for outputs that are bit-identical up to the input's own translation symmetry (`Outcome.UP_TO_SYMMETRY`), where no
    choice of origins could do better; `certificate.identical.all()` is true only without.

    Attributes:
        outcome: what it comes to.
        identical: bool (B,): every output equal, bit by bit, under every shift tried (0.0 and -0.0 are equal, and NaN is NaN).
        max_difference: float64 (B,): largest absolute difference of an output; NaN where outputs are not finite, and
            infinite where their shape changes.
        margin: float64 (B,): smallest relative gap between the best and the second-best phase over all origins chosen
            (a diagnostic: how near a flip the energies alone came); NaN where the model chooses none.
        symmetry: per image None, or the translation symmetry of the input up to which a dense output is equivariant.
        shifts: the shifts tried.
        residues: the model tells shifts apart modulo this many rows and columns, as far as is known.
        outputs: which outputs were compared, as what.
        not_compared: what else the model returns, that is no tensor and no plain value: its path and type.
        not_finite: images with NaN or infinity, in them or in an output.
        worst: the shift with the largest difference; None without any.
        stopped: whether it stopped at the first shift under which an output differs.
        planes: of volumes that were moved in depth too: how many shifts in depth were tried, of how many there are.
    """

    outcome: Outcome
    identical: Tensor
    max_difference: Tensor
    margin: Tensor
    symmetry: list[Pair | None]
    shifts: list[Pair]
    residues: Pair
    outputs: list[ComparedOutput]
    not_compared: list[str]
    not_finite: list[int]
    worst: Pair | None = None
    stopped: bool = False
    planes: Pair | None = None

    def __bool__(self) -> bool:
        return bool(self.outcome)

    @property
    def verdict(self) -> str:
        """The same in one sentence, and in another what was not compared."""
        beside = f" Not compared: {', '.join(self.not_compared)}." if self.not_compared and self else ""
        return _SENTENCES[self.outcome](self) + beside

    def __str__(self) -> str:
        margins = self.margin[self.margin.isfinite()]
        lines = [
            self.verdict,
            f"  images            {len(self.identical)}, bit-identical: {int(self.identical.sum())}",
            f"  circular shifts   {len(self.shifts):,} each" + " (stopped at the first difference)" * self.stopped,
        ]
        for k, output in enumerate(self.outputs):
            lines.append(
                f"  {'outputs' if k == 0 and len(self.outputs) > 1 else 'output' if k == 0 else '':<18}{output}"
            )
        if self.not_compared:
            lines.append(f"  not compared      {', '.join(self.not_compared)}")
        lines.append(f"  max difference    {self.max_difference.max().item():.3g}")
        if len(margins):
            lines.append(f"  smallest margin   {margins.min().item():.2g}")
        return "\n".join(lines)

    __repr__ = __str__

    def _under(self) -> str:
        """Which shifts were tried, of how many there are."""
        residues = f"{math.prod(self.residues):,} residues modulo {_product(self.residues)}"
        if are_all(self.shifts, self.residues):
            return f"all {residues}{self._in_depth()}"
        tried = len(self.shifts)
        return f"{tried:,} sampled shift{'s' * (tried != 1)}, of {residues}{self._in_depth()}"

    def _in_depth(self) -> str:
        if self.planes is None:
            return ""
        tried, depth = self.planes
        return f", each with one of {f'all {depth}' if tried == depth else f'{tried} of {depth}'} shifts in depth"

    @property
    def _complete(self) -> bool:
        return are_all(self.shifts, self.residues) and (self.planes is None or self.planes[0] == self.planes[1])

    def _changed(self) -> str:
        changed, difference = int((~self.identical).sum()), self.max_difference.max().item()
        how = f"by up to {difference:.3g}" if math.isfinite(difference) else "in shape"
        return f"{changed} of {len(self.identical)} images change, {how}"


def _product(pair: Pair) -> str:
    return f"{pair[0]} x {pair[1]}"


def _certified(found: Certificate) -> str:
    count = len(found.identical)
    return f"CERTIFIED: bit-identical output for {count} of {count} images under {found._under()}."


def _identical(found: Certificate) -> str:
    count = len(found.identical)
    return f"BIT-IDENTICAL under {found._under()}: {count} of {count} images."


def _up_to_symmetry(found: Certificate) -> str:
    row, g = next((row, g) for row, g in enumerate(found.symmetry) if g is not None)
    return (
        f"{'CERTIFIED' if found._complete else 'BIT-IDENTICAL'} up to the input's own symmetry: image {row} is the same when shifted "
        f"by {g}, so no choice of origin is equivariant for it; convert with symmetrise=True to average over such choices "
        f"({found._under()})."
    )


def _rounding(found: Certificate) -> str:
    return (
        f"NOT CERTIFIED: {found._changed()} (shift {found.worst}), a matter of rounding: a kernel rounds differently by position. "
        "On the CPU set MKL_CBWR=AVX2,STRICT in the environment before Python starts, or use a PyTorch built with oneDNN."
    )


def _other_phase(found: Certificate) -> str:
    return (
        f"NOT CERTIFIED: {found._changed()} (shift {found.worst}), which is more than rounding: the model selects a different sampling "
        "phase when the image is shifted, or its borders show (zero padding)."
    )


def _stayed(found: Certificate) -> str:
    output = next(output for output in found.outputs if output.stayed)
    name = f"output '{output.path}' {output.shape}" if output.path else f"the output {output.shape}"
    return f"NOT CERTIFIED: {name} has the image's rows and columns, and is not shifted with the image."


def _not_finite(found: Certificate) -> str:
    rows, count = found.not_finite, len(found.identical)
    return f"NOT CERTIFIED: image {rows[0]} gives NaN or infinity ({len(rows)} of {count} images); nothing can be said of it."


def _nondeterministic(found: Certificate) -> str:
    return (
        f"NOT CERTIFIED: the model is not deterministic: without any shift {found._changed()} from one call to the next. Look for "
        "dropout or noise that eval mode leaves on, and for state that a call changes."
    )


_SENTENCES = {
    Outcome.CERTIFIED: _certified,
    Outcome.IDENTICAL: _identical,
    Outcome.UP_TO_SYMMETRY: _up_to_symmetry,
    Outcome.ROUNDING: _rounding,
    Outcome.OTHER_PHASE: _other_phase,
    Outcome.STAYED: _stayed,
    Outcome.NOT_FINITE: _not_finite,
    Outcome.NONDETERMINISTIC: _nondeterministic,
}
