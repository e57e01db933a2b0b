"""The seed's claims, our numbers, and what can be said: the last table of notebook 09."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from companion.core.published import read_results
from companion.core.records import Record, is_study
from companion.measures.paired_t import paired_gains

PLAIN = "Baseline, zero padding"  # as companion.models.methods prints it
CONFIRMED, NOT, OPEN = "confirmed", "not confirmed", "not decidable here"


@dataclass(frozen=True)
class Claim:
    """What the seed says, and what was measured.

    Attributes:
        said: in the seed's sense.
        measured: what our number is.
        number: with its interval, as printed.
        verdict: CONFIRMED, NOT or OPEN.
    """

    said: str
    measured: str
    number: str
    verdict: str


def difference(records: Sequence[Record], method: str, over: str, field: str = "top1") -> dict[str, Any] | None:
    """The mean paired difference over common seeds, in percentage points, with its interval; None without common seeds."""
    both = [record for record in records if record["method"] in (method, over)]
    if {record["method"] for record in both} != {method, over}:
        return None
    row = paired_gains(both, over, field).loc[method]
    return dict(row) if row["n"] else None


def judged(said: str, measured: str, found: dict[str, Any] | None) -> Claim:
    """A claim that something rises: told by the interval of a paired difference."""
    if found is None:
        return Claim(said, measured, "–", OPEN)
    if found["n"] < 2:
        return Claim(said, measured, f"{found['gain']:+.2f} (one seed)", OPEN)
    number = f"{found['gain']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}; {found['n']:.0f} seeds)"
    verdict = CONFIRMED if found["low"] > 0 else NOT if found["high"] <= 0 else OPEN
    return Claim(said, measured, number, verdict)


def by_comparison(said: str, measured: str, pairs: dict[str, tuple[float, float]]) -> Claim:
    """A claim that one number is smaller than another, in each of several cases, without an interval."""
    number = "; ".join(f"{name} {ours:.3g} against {theirs:.3g}" for name, (ours, theirs) in pairs.items())
    smaller = [ours < theirs for ours, theirs in pairs.values()]
    return Claim(said, measured, number, CONFIRMED if all(smaller) else NOT if not any(smaller) else OPEN)


def cifar10_runs(root: Path) -> list[Record]:
    """Notebook 05's runs of ResNet-20 on CIFAR-10 in `reduced`, as published: 13 epochs, three seeds."""
    records = read_results(root, "cifar10")
    chosen = [r for r in records if r["profile"] == "reduced" and not is_study(r) and r.get("net") == "resnet20"]
    return [r for r in chosen if r.get("dataset") == "cifar10"]


def of_the_seed(
    records: Sequence[Record],
    cifar10: Sequence[Record],
    distances: dict[str, dict[tuple[str, str], Any]],
    stability: dict[str, float | None],
    relative: dict[str, float],
) -> list[Claim]:
    """Each of the seed's claims against what notebook 09 measured.

    Args:
        records: of the networks that it trained; cifar10: of notebook 05's.
        distances: feature distances, by network, then by version and layer.
        stability: of generation, by version, in dB; None where all is identical.
        relative: mean corruption errors, by method.
    """
    deepest = {
        net: tuple(float(grids[version, list(grids)[-1][1]].mean()) for version in ("anti-aliased", "circular padding"))
        for net, grids in distances.items()
    }
    noise = {"blurred": -(stability["anti-aliased"] or 0.0), "not": -(stability["circular padding"] or 0.0)}
    accuracy = "top-1, anti-aliased less plain, points"
    return [
        by_comparison("Anti-aliased features keep shift-equivariance better", "mean cosine distance of the deepest layer, with a filter against without, borders wrap", deepest),  # type: ignore[arg-type]
        judged("Filters increase classification consistency", "circular consistency, anti-aliased less plain, points", difference(records, "anti-aliased", PLAIN, "consistency")),
        judged("Stronger filters increase it more", "circular consistency, Bin-5 less Rect-2, points", difference(records, "anti-aliased, Bin-5", "anti-aliased, Rect-2", "consistency")),
        judged("Accuracy is improved as well", f"{accuracy}; ResNet-20 on CIFAR-10, LPF-3 less baseline", difference(cifar10, "LPF-3", "Baseline")),
        judged("Fine-tuned on few grey images, accuracy rises (95.865 to 97.115)", accuracy, difference(records, "anti-aliased", PLAIN)),
        by_comparison("Generated images are more stable", "PSNR in dB of outputs, negated, with a filter against without", {"restorer": (noise["blurred"], noise["not"])}),
        by_comparison("Corrupted images are classified better", "mean corruption error, plain = 100", {"anti-aliased": (relative["anti-aliased"], 100.0)}),
        judged("Shift augmentation is no longer required", "circular consistency, anti-aliased less plain with shifts in training, points", difference(records, "anti-aliased", f"{PLAIN}, shifts in training", "consistency")),
        judged("(MASS, for comparison: consistency)", "circular consistency, MASS less anti-aliased, points", difference(records, "MASS", "anti-aliased", "consistency")),
        judged("(MASS, for comparison: accuracy)", "top-1, MASS over anti-aliasing less anti-aliased, points", difference(records, "MASS over anti-aliasing", "anti-aliased")),
    ]  # fmt: skip
