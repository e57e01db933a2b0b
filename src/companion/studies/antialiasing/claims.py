"""Claims of an article on Zhang (2019), one of this project's seeds, our numbers, and what can be said: the last table of notebook 09."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from companion.core.published import read_results
from companion.core.records import Record, is_study
from companion.measures.paired_images import holm
from companion.measures.paired_t import paired_gains

PLAIN = "Baseline, zero padding"  # as companion.models.methods prints it
CONFIRMED, NOT, OPEN = "confirmed", "not confirmed", "not decidable here"
AS_CLAIMED, NOT_AS_CLAIMED = "larger in each (untested)", "larger in none (untested)"


@dataclass(frozen=True)
class Claim:
    """What the seed says, and what was measured.

    Attributes:
        said: in the seed's sense.
        measured: what our number is.
        number: with its interval, as printed.
        verdict: CONFIRMED, NOT or OPEN; of a comparison without a test AS_CLAIMED, NOT_AS_CLAIMED or OPEN.
        p: of the paired test over seeds, where there is one; in the table corrected for all that were made (Holm).
    """

    said: str
    measured: str
    number: str
    verdict: str
    p: float | None = None


def difference(records: Sequence[Record], method: str, over: str, field: str = "top1") -> dict[str, Any] | None:
    """The mean paired difference over common seeds, in percentage points, with its interval; None without common seeds."""
    both = [record for record in records if record["method"] in (method, over)]
    if {record["method"] for record in both} != {method, over}:
        return None
    row = paired_gains(both, over, field).loc[method]
    return dict(row) if row["n"] else None


def judged(said: str, measured: str, found: dict[str, Any] | None) -> Claim:
    """A claim that something rises, and the paired test of it over seeds; its verdict is the sign until `decided` has looked at p."""
    if found is None:
        return Claim(said, measured, "–", OPEN)
    if found["n"] < 2:
        return Claim(said, measured, f"{found['gain']:+.2f} (one seed)", OPEN)
    if math.isnan(found["p"]):
        return Claim(said, measured, f"{found['gain']:+.2f} (the same in {found['n']:.0f} seeds)", OPEN)
    number = f"{found['gain']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}; {found['n']:.0f} seeds)"
    return Claim(said, measured, number, CONFIRMED if found["gain"] > 0 else NOT, float(found["p"]))


def decided(claims: Sequence[Claim]) -> list[Claim]:
    """The claims, those with a test decided at 5% after Holm's correction for all of these.

    >>> [claim.verdict for claim in decided([Claim("", "", "", CONFIRMED, 0.03), Claim("", "", "", NOT, 0.01)])]
    ['confirmed', 'not confirmed']
    >>> [claim.verdict for claim in decided([Claim("", "", "", CONFIRMED, 0.03), Claim("", "", "", NOT, 0.04)])]
    ['not decidable here', 'not decidable here']
    """
    corrected = iter(holm([claim.p for claim in claims if claim.p is not None]))
    tested = [claim if claim.p is None else replace(claim, p=next(corrected)) for claim in claims]
    return [claim if claim.p is None or claim.p < 0.05 else replace(claim, verdict=OPEN) for claim in tested]


def by_comparison(
    said: str,
    measured: str,
    pairs: dict[str, tuple[float, float]],
    digits: int = 2,
    beside: dict[str, float] | None = None,
) -> Claim:
    """A claim that one number is larger than another, in each of several cases, without an interval or a test.

    Args:
        beside: a third number of each case, of the network with zero padding.

    >>> by_comparison("It grows", "height", {"tree": (3.0, 2.0)}).verdict
    'larger in each (untested)'
    >>> by_comparison("It grows", "height", {"tree": (3.0, 2.0), "stone": (1.0, 1.0)}).verdict
    'not decidable here'
    """
    number = "; ".join(
        f"{name} {ours:.{digits}f} against {theirs:.{digits}f}"
        + (f" (zero padding {beside[name]:.{digits}f})" if beside else "")
        for name, (ours, theirs) in pairs.items()
    )
    larger = [ours > theirs for ours, theirs in pairs.values()]
    return Claim(said, measured, number, AS_CLAIMED if all(larger) else NOT_AS_CLAIMED if not any(larger) else OPEN)


def cifar10_runs(root: Path) -> list[Record]:
    """Notebook 05's runs of ResNet-20 on CIFAR-10 in `reduced`, as published: 13 epochs, three seeds."""
    records = read_results(root, "cifar10")
    chosen = [r for r in records if r["profile"] == "reduced" and not is_study(r) and r.get("net") == "resnet20"]
    return [r for r in chosen if r.get("dataset") == "cifar10"]


def further_seeds(root: Path, records: Sequence[Record]) -> list[Record]:
    """Notebook 11's published runs of the same network on the same images, of seeds that are not among these."""
    kinds = {(record["dataset"], record["net"], record["epochs"]) for record in records}
    known = {(record["method"], record["seed"]) for record in records}
    tuned = [record for record in read_results(root, "periodic") if record.get("stage") == "fine-tuned"]
    return [
        record
        for record in tuned
        if (record["dataset"], record["net"], record["epochs"]) in kinds
        and (record["method"], record["seed"]) not in known
    ]


def of_the_seed(
    records: Sequence[Record],
    cifar10: Sequence[Record],
    distances: dict[str, dict[tuple[str, str], Any]],
    stability: dict[str, float | None],
    relative: Sequence[dict[str, Any]],
) -> list[Claim]:
    """Each of the seed's claims against what notebook 09 measured.

    Args:
        records: of the networks that it trained, and of further seeds; cifar10: of notebook 05's.
        distances: feature distances, by network, then by version and layer.
        stability: of generation, by version, in dB; None where all is bit-identical.
        relative: mean corruption errors, by seed and method.
    """
    layers = {net: list(grids)[-1][1] for net, grids in distances.items()}
    alike = {
        net: (
            1 - float(grids["anti-aliased", layers[net]].mean()),
            1 - float(grids["circular padding", layers[net]].mean()),
        )
        for net, grids in distances.items()
    }
    zeros = {net: 1 - float(grids["plain", layers[net]].mean()) for net, grids in distances.items()}
    restored = {"U-Net": (stability["anti-aliased"] or math.inf, stability["circular padding"] or math.inf)}
    right = [row | {"right": -row["relative"]} for row in relative]
    shifted = f"{PLAIN}, shifts in training"
    images = f" ({records[0]['dataset']})" if records else ""
    of_cifar10 = " (ResNet-20 on CIFAR-10, notebook 05)"

    def gain(method: str, over: str, field: str = "top1") -> dict[str, Any] | None:
        return difference(records, method, over, field)

    made = [
        by_comparison(
            "Internal features keep shift-equivariance better",
            "cosine of the deepest layer's features, mean over shifts, borders wrap: with a filter against without",
            alike,
            3,
            zeros,
        ),
        judged(
            "Filters increase classification consistency",
            f"circular consistency, points: anti-aliased less plain{images}",
            gain("anti-aliased", PLAIN, "consistency"),
        ),
        judged(
            "Filters increase it, borders wrap",
            f"circular consistency, points: LPF-3 less baseline{of_cifar10}",
            difference(cifar10, "LPF-3", "Baseline", "consistency"),
        ),
        judged(
            "Filters increase it, zeros at the borders",
            f"circular consistency, points: anti-aliased, Rect-2 less plain{of_cifar10}",
            difference(cifar10, "anti-aliased, Rect-2", PLAIN, "consistency"),
        ),
        judged(
            "Stronger filters increase it more",
            f"circular consistency, points: Bin-5 less Rect-2{images}",
            gain("anti-aliased, Bin-5", "anti-aliased, Rect-2", "consistency"),
        ),
        judged(
            "Accuracy is improved as well",
            f"top-1, points: LPF-3 less baseline{of_cifar10}",
            difference(cifar10, "LPF-3", "Baseline"),
        ),
        judged(
            "Fine-tuned on few grey images, accuracy rises (95.865 to 97.115)",
            f"top-1, points: anti-aliased less plain{images}",
            gain("anti-aliased", PLAIN),
        ),
        by_comparison(
            "Generated images are more stable", "PSNR in dB, borders wrap: with a filter against without", restored, 1
        ),
        judged(
            "Corrupted images are classified better",
            f"mean corruption error, plain = 100, points: plain less anti-aliased{images}",
            difference(right, "anti-aliased", PLAIN, "right"),
        ),
        judged(
            "Shift augmentation is no longer required",
            f"circular consistency, points: anti-aliased less plain with shifts in training{images}",
            gain("anti-aliased", shifted, "consistency"),
        ),
        judged(
            "(MASS beside it: consistency)",
            f"circular consistency, points: MASS less anti-aliased{images}",
            gain("MASS", "anti-aliased", "consistency"),
        ),
        judged(
            "(MASS over it: accuracy)",
            f"top-1, points: MASS over anti-aliasing less anti-aliased{images}",
            gain("MASS over anti-aliasing", "anti-aliased"),
        ),
    ]
    return decided(made)
