"""The paper's claims, sentence by sentence: confirmed, contradicted or not decidable here, and by which published records.

Every number is read from results/ when the table is made. A claim of which nothing was measured at its scale is not decidable
here; what was measured below it is told, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from companion.core.markdown import difference, machine
from companion.core.published import read_results
from companion.core.records import Record, is_study
from companion.measures.paired_t import mass_against_aps, paired_gains

CONFIRMED, CONTRADICTED, OPEN = "confirmed", "contradicted", "not decidable here"
Finding = tuple[str, str]  # a verdict, and what it rests on


class Results:
    """The published records that claims are held against."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trained = [r for r in read_results(root, "cifar10") if r["dataset"] == "cifar10" and not is_study(r)]
        self.studied = [r for r in read_results(root, "cifar10") if r["dataset"] == "cifar10" and is_study(r)]
        self.transferred = _most(read_results(root, "weight_transfer"))
        self.segmented = [r for r in read_results(root, "segmentation") if r["dataset"] != "scenes"]
        self.timed = [r for r in read_results(root, "speed") if r.get("stage", "forward") == "forward" and "ratio" in r]
        self.zoo = [r for r in read_results(root, "zoo") if r.get("kind") == "convolutional" and r.get("converts")]

    def top1(self, method: str, epochs: int) -> list[float]:
        return [r["top1"] for r in self.trained if (r["method"], r["epochs"]) == (method, epochs)]

    def gains(self, method: str, over: str, epochs: int = 13) -> str:
        """A paired difference as trained for so many epochs, with its interval and n."""
        runs = [r for r in self.trained if r["epochs"] == epochs and r["method"] in (method, over)]
        if {r["method"] for r in runs} != {method, over}:
            return f"{method} against {over}: not run"
        row = paired_gains(runs, over).loc[method]
        interval = f"{difference(row['gain'], row['low'], row['high'], 2)}, n = {row['n']}"
        return f"{method} against {over} after {epochs} epochs: {interval}"

    def paired(self, method: str, against: str, view: str) -> Record | None:
        """What images say of two transferred networks."""
        found = (r for r in self.transferred if r.get("stage") == "top-1, paired")
        return next((r for r in found if (r["method"], r["against"], r["input"]) == (method, against, view)), None)


def _most(records: Sequence[Record]) -> list[Record]:
    most = max((r["n"] for r in records if "n" in r), default=0)
    return [r for r in records if r.get("n") == most]


def _views(results: Results, method: str, against: str) -> str:
    rows = [results.paired(method, against, view) for view in ("squashed", "cropped")]
    told = [
        f"{r['input']} {r['difference']:+.1f} ({r['low']:+.1f} to {r['high']:+.1f}), p (Holm) {r['p_holm']:.4f}"
        for r in rows
        if r is not None
    ]
    return f"{method} against {against}, {rows[0]['n']:,} images: {'; '.join(told)}" if rows[0] else "not run"


def _exact(results: Results) -> Finding:
    same = sum(bool(r["identical_float32"]) for r in results.zoo)
    trained = [r["consistency"] for r in results.trained if r["method"].startswith("MASS")]
    told = f"all {len(trained)} trainings with MASS have consistency {min(trained, default=0):.2f}"
    told += f"; of {len(results.zoo)} convolutional networks of the census {same} keep all bits in float32"
    return (OPEN if not trained else CONFIRMED if min(trained) == 100 else CONTRADICTED), told


def _parameters(results: Results) -> Finding:
    counts = {
        m: {r["parameters"] for r in results.trained if r["method"] == m and r["net"] == "resnet20"}
        for m in ("Baseline", "MASS")
    }
    equal = counts["Baseline"] == counts["MASS"] != set()
    return (CONFIRMED if equal else OPEN), f"ResNet-20: {min(counts['MASS'], default=0):,} parameters, as the baseline"


def _pass(r: Record) -> tuple[object, ...]:
    """What was timed in one run: a network, a batch, a machine."""
    return tuple(r.get(name) for name in ("net", "batch", "cpu", "device", "started", "input"))


def _time(results: Results) -> Finding:
    ratios: dict[str, list[float]] = {}
    layout = ", channels last"
    last = {_pass(r): r["ratio"] for r in results.timed if r["method"] == f"plain{layout}"}
    for r in results.timed:
        place = f"{machine(r)}{', ' + r['input'] if 'input' in r else ''}"
        if r["method"] == "MASS":
            ratios.setdefault(place, []).append(r["ratio"])
        elif r["method"] == f"MASS{layout}" and _pass(r) in last:  # both are times the plain network's, channels first
            ratios.setdefault(f"{place}{layout}", []).append(r["ratio"] / last[_pass(r)])
    told = "; ".join(f"{place}: {min(found):.2f} to {max(found):.2f}" for place, found in ratios.items())
    worst = max((max(found) for found in ratios.values()), default=0)
    return (
        OPEN if not ratios else CONTRADICTED if worst > 1.1 else CONFIRMED
    ), f"times the plain network's, over networks and batches; {told}"


def _outperforms(results: Results) -> Finding:
    rows = mass_against_aps(results.trained)
    told = "; ".join(
        f"{r['method']} against {r['against']}, {r['epochs']} epochs {r['gain']:+.2f} ({r['verdict']})"
        for _, r in rows.iterrows()
    )
    return (
        CONTRADICTED,
        f"by its own Table 2, where other rows are above (errata); here no difference to APS is measurable: {told}",
    )


def _gain(results: Results) -> Finding:
    runs = len(results.top1("Baseline", 250))
    told = f"{runs} of 5 runs of the baseline at 250 epochs, which decide nothing" if runs else "not run at 250 epochs"
    return OPEN, f"{told}; {results.gains('MASS', 'Baseline')}"


def _filters(results: Results) -> Finding:
    return (
        OPEN,
        f"no filter was trained for 250 epochs; {results.gains('LPF-3', 'Baseline')}; {results.gains('MASS-LPF-3', 'MASS')}",
    )


def _best(results: Results) -> Finding:
    means = {
        m: mean(results.top1(m, 13)) for m in dict.fromkeys(r["method"] for r in results.trained) if results.top1(m, 13)
    }
    best = max(means, key=lambda m: means[m], default="")
    told = f"; after 13 epochs the highest mean is {best}'s, {means[best]:.2f}" if best else ""
    return OPEN, f"not trained for 250 epochs{told}"


def _generalisation(results: Results) -> Finding:
    return OPEN, f"no such network was trained for 250 epochs; {results.gains('MASS', 'Baseline, zero padding')}"


def _augmentation(results: Results) -> Finding:
    found = [
        r
        for r in results.studied
        if r["method"] == "Baseline, shifts in training" and "corrupted" in r.get("input", "")
    ]
    worst = min(found, key=lambda r: r["consistency"], default=None)
    told = (
        f"trained on shifts, {worst['consistency']:.1f}% consistent on images ‘{worst['input']}’ (n = {worst['n']:,})"
        if worst
        else "not run"
    )
    return (CONFIRMED if worst and worst["consistency"] < 100 else OPEN), told


def _main_reason(results: Results, epochs: int = 13) -> Finding:
    kept = {
        m: [r["consistency"] for r in results.trained if r["method"] == m and r["epochs"] == epochs]
        for m in ("Baseline, zero padding", "Baseline")
    }
    if not all(kept.values()):
        return OPEN, "not run"
    zero, circular = (mean(values) for values in kept.values())
    told = f"ResNet-20 on CIFAR-10: consistency {zero:.1f} with zero padding, {circular:.1f} when borders wrap, 100 with MASS, after {epochs} epochs"
    borders_cost_more = [circular - zero > 100 - circular]
    wide = {r["method"]: r["consistency"] for r in results.transferred if not is_study(r) and "consistency" in r}
    if {"plain", "circular padding"} <= set(wide):
        told += f"; MobileNetV2 on ImageNet images: {wide['plain']:.1f}, {wide['circular padding']:.1f}, 100"
        borders_cost_more.append(wide["circular padding"] - wide["plain"] > 100 - wide["circular padding"])
    if len(set(borders_cost_more)) > 1:
        return OPEN, f"it depends on the images, on small ones borders cost more: {told}"
    return (CONTRADICTED if borders_cost_more[0] else CONFIRMED), told


def _transfer(results: Results) -> Finding:
    found = [r for r in results.transferred if r.get("method") == "MASS" and not is_study(r)]
    broken = [r for r in found if r["consistency"] < 100]
    if not found or broken:
        return (CONTRADICTED if broken else OPEN), "not run" if not found else f"{broken[0]['consistency']:.2f}"
    same = sum(bool(r["identical_float32"]) for r in results.zoo)
    told = f"100.00 for the one of its networks whose weights can be had, {found[0]['model']}, {found[0]['n']:,} images"
    told += f"; of {len(results.zoo)} convolutional networks of the census, of random weights, {same} keep all bits in float32 under sampled shifts"
    return OPEN, told


def _no_impact(results: Results) -> Finding:
    row = results.paired("circular padding", "plain", "squashed")
    return (CONTRADICTED if row and row["p_holm"] < 0.05 else OPEN), _views(results, "circular padding", "plain")


def _marginal(results: Results) -> Finding:
    row = results.paired("MASS", "plain", "squashed")
    told = f"{_views(results, 'MASS', 'plain')} (the paper calls 0.73 mere)"
    return (CONTRADICTED if row and row["high"] < -0.73 else OPEN), f"MobileNetV2: {told}; its other networks: not run"


def _aps_drops(results: Results) -> Finding:
    told = f"{_views(results, 'APS', 'plain')}; {_views(results, 'MASS', 'APS')}. That is APS as its authors have it, which runs the convolution "
    return (
        OPEN,
        told + "densely and samples its output; the paper's replaces the convolution, and its code is not published",
    )


def _aps_convnext(results: Results) -> Finding:
    found = [r for r in results.timed if (r["net"], r["method"]) == ("convnext_tiny", "APS")]
    return (
        (CONTRADICTED if found else OPEN),
        "convert_to_aps(convnext_tiny) runs with the same parameters: the convolution is dense and its output sampled (timed in docs/results.md)",
    )


def _aps_layers(results: Results) -> Finding:
    nets = sorted({r["net"] for r in results.timed if r["method"] == "APS"})
    return (
        CONTRADICTED if nets else OPEN
    ), f"convert_to_aps runs any of them densely and samples its output: {', '.join(nets)} (timed in docs/results.md)"


def _tuned(results: Results) -> Finding:
    tuned = {r["method"]: r for r in results.studied if r.get("stage") == "fine-tuned"}
    told = ", ".join(f"{m} {r['top1']:.2f}" for m, r in tuned.items())
    return (
        OPEN,
        f"ResNet-18's ImageNet weights cannot be had; its small sibling, ResNet-20 on CIFAR-10 after 3 epochs, one seed: {told or 'not run'}",
    )


def _mascc(results: Results) -> Finding:
    found = [r for r in results.segmented if r["method"] == "MASS"]
    kept = bool(found) and all(r["mascc_paper"] == 100 and r["identical"] == 100 for r in found)
    return (CONFIRMED if kept else OPEN), "; ".join(
        f"{r['dataset']}, {r['n']} images, mASCC {r['mascc_paper']:.2f}" for r in found
    ) or "not run"


def _nothing(why: str) -> Callable[[Results], Finding]:
    return lambda results: (OPEN, why)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, verbatim, and what decides it."""

    where: str
    quote: str
    found: Callable[[Results], Finding]


CLAIMS = (
    Claim("Abstract", "we can achieve perfect shift equivariance", _exact),
    Claim("Section 2", "the main reason for the absence of equivariance is due to the existence of a downsampling process", _main_reason),
    Claim("Section 2", "does not guarantee shift equivariance in out-of-distribution data", _augmentation),
    Claim("Section 3", "we cannot exploit previously developed various downsampling layers, for example, max-pooling", _aps_layers),
    Claim("Section 4.1", "devoid of any additional trainable parameters", _parameters),
    Claim("Section 4.1", "The associated increase in inference time resulting from these additional steps is marginal", _time),
    Claim("Section 4.3", "These adjustments do not impact the computations performed by the modified architectures", _no_impact),
    Claim("5.1.1", "MASS-enabled architectures consistently outperforms all other methods, including baseline and APS", _outperforms),
    Claim("5.1.1", "our method improves 2.06% and 2.95%, respectively", _gain),
    Claim("5.1.1", "MASS also achieves circular consistency 100%", _exact),
    Claim("5.1.1", "The effectiveness of anti-aliasing filters has also been verified to improve accuracy", _filters),
    Claim("5.1.1", "MASS-DDAC-3 […] demonstrates the best performance", _best),
    Claim("5.1.2", "results in 100% consistency across all outcomes", _transfer),
    Claim("Section 1", "absolute shift equivariance with marginal performance degradation", _marginal),
    Claim("5.1.2", "in the case of the ConvNeXt-L model, we observe a mere 0.73% drop in accuracy", _nothing("its weights cannot be had")),
    Claim("5.1.2", "In all cases, the APS models significantly drop accuracy", _aps_drops),
    Claim("5.1.2", "APS cannot replace downsampling layers within the ConvNeXt architecture", _aps_convnext),
    Claim("5.1.2", "the fine-tuned model, MASS-FT, achieves a Top-1 accuracy of 69.22%", _tuned),
    Claim("5.1.2", "surpassing networks utilizing polyphase sampling even without any anti-aliasing filter", _tuned),
    Claim("5.1.2", "we observe only a marginal 0.56% decrease in accuracy", _tuned),
    Claim("5.2", "perfect shift equivariance in the domain of semantic segmentation", _mascc),
    Claim("5.2", "on par with polyphase sampling methods with anti-alising filters",
          _nothing("the body of Table 5 is lost, and networks trained as briefly as here do not segment well enough to compare")),
    Claim("Section 6", "enhancing generalization, resulting in improved accuracy compared to traditional architectures", _generalisation),
    Claim("Section 6", "With a minimal amount of fine-tuning, we can achieve a comparable level of accuracy", _tuned),
)  # fmt: skip


def decided(root: Path) -> list[tuple[Claim, str, str]]:
    """Every claim with its verdict and what it rests on."""
    results = Results(root)
    return [(claim, *claim.found(results)) for claim in CLAIMS]
