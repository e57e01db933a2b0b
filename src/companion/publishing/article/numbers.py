"""Every number that the article says, by name, from results/, from what the paper states, and from nowhere else.

A number whose record is absent is a refusal: a sentence of the article never stands on nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

from companion.core.errors import Refusal
from companion.core.markdown import difference, machine, p_value
from companion.core.published import read_results
from companion.core.records import Record, is_study, mean_std
from companion.measures.paired_t import mass_against_aps, paired_gains
from companion.paper import verdicts
from companion.paper.printed import BASELINE, TABLE_2
from companion.studies.paper_and_errata.claims import CONFIRMED, CONTRADICTED, OPEN, decided

Numbers = dict[str, str]


def numbers(root: Path) -> Numbers:
    """All of them, as they are printed.

    Raises:
        Refusal: where a record is absent.
    """
    parts = (_project, _paper, _claims, _long_training, _short_training, _transfer, _noise, _exactness, _census, _cost)
    return {name: _minus(text) for part in parts for name, text in part(root).items()}


def _minus(text: str) -> str:
    """With the sign for a minus that is set as one."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def _found(root: Path, topic: str, **fields: Any) -> list[Record]:
    """The published records with these fields (None: without that field); at least one."""
    found = [r for r in read_results(root, topic) if all(r.get(name) == value for name, value in fields.items())]
    if not found:
        said = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        raise Refusal(f"The article needs a record of results/{topic}.json with {said}: there is none.")
    return found


def _one(root: Path, topic: str, **fields: Any) -> Record:
    """The newest of them."""
    return max(_found(root, topic, **fields), key=lambda r: (r["started"], r.get("row", 0)))


def _project(root: Path) -> Numbers:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = max(r["started"] for path in (root / "results").glob("*.json") for r in read_results(root, path.stem))
    return {"version": project["version"], "date": newest[:10]}


def _paper(root: Path) -> Numbers:
    printed = {(row.method, row.network): row for row in TABLE_2}
    accuracy = {key: row.accuracy.mean for key, row in printed.items()}
    gains = {(m, net): f"{accuracy[m, net] - accuracy[BASELINE, net]:.2f}" for m, net in accuracy}
    return {
        "paper_mass": str(printed["MASS", "ResNet-20"].accuracy),
        "paper_aps": str(printed["APS", "ResNet-20"].accuracy),
        "paper_above_aps": f"{accuracy['MASS', 'ResNet-20'] - accuracy['APS', 'ResNet-20']:.2f}",
        "paper_gain_20": gains["MASS", "ResNet-20"],
        "paper_gain_18": gains["MASS", "ResNet-18"],
        "paper_ddac_gain_20": gains["MASS-DDAC-3", "ResNet-20"],
        "paper_ddac_gain_18": gains["MASS-DDAC-3", "ResNet-18"],
        "margin": f"{verdicts.MARGIN:g}",
    }


def _claims(root: Path) -> Numbers:
    counted = Counter(verdict for _, verdict, _ in decided(root))
    return {
        "claims": str(counted.total()),
        "confirmed": str(counted[CONFIRMED]),
        "contradicted": str(counted[CONTRADICTED]),
        "undecided": str(counted[OPEN]),
    }


def _trained(root: Path, profile: str) -> list[Record]:
    found = _found(root, "cifar10", profile=profile, dataset="cifar10", net="resnet20")
    return [r for r in found if not is_study(r)]


def _extent(records: list[Record], prefix: str) -> Numbers:
    return {
        f"{prefix}_epochs": str(records[0]["epochs"]),
        f"{prefix}_runs": str(len(records)),
        f"{prefix}_hours": f"{sum(r['train_seconds'] for r in records) / 3600:.1f}",
    }


def _long_training(root: Path) -> Numbers:
    records = _trained(root, "paper")
    rows = mass_against_aps(records)
    (row,) = (r for _, r in rows.iterrows() if r["method"] == "MASS")
    exact = [r["consistency"] for r in _trained(root, "reduced") + records if r["method"].startswith("MASS")]
    one = records[0]
    return _extent(records, "long") | {
        "long_seeds": str(len({r["seed"] for r in records})),
        "long_batch": str(one["batch"]),
        "long_lr": f"{one['lr']:g}",
        "long_momentum": f"{one['momentum']:g}",
        "long_decay": f"{one['weight_decay']:g}",
        "long_machine": machine(one),
        "consistency": f"{min(exact):g}",
        "long_mass": mean_std([r["top1"] for r in records if r["method"] == "MASS"]),
        "long_aps": mean_std([r["top1"] for r in records if r["method"] == "APS"]),
        "long_difference": difference(row["gain"], row["low"], row["high"], 2),
        "long_p": f"{row['p']:.2f}",
    }


def _short_training(root: Path) -> Numbers:
    records = _trained(root, "reduced")

    def gain(method: str, over: str) -> str:
        row = paired_gains([r for r in records if r["method"] in (method, over)], over).loc[method]
        return difference(row["gain"], row["low"], row["high"], 2)

    def consistency(method: str) -> str:
        return mean_std([r["consistency"] for r in records if r["method"] == method], 1)

    over_baseline = paired_gains(records, BASELINE)
    told = [str(name) for name, row in over_baseline.iterrows() if row["p_holm"] < 0.05]
    augmented = "Baseline, shifts in training"
    studied = [r for r in _found(root, "cifar10", method=augmented) if "corrupted" in r.get("input", "")]
    worst = min(studied, key=lambda r: r["consistency"])
    return _extent(records, "short") | {
        "short_mass_over_aps": gain("MASS", "APS"),
        "short_mass_over_baseline": gain("MASS", BASELINE),
        "short_compared": str(over_baseline["p_holm"].notna().sum()),
        "short_told": f"{len(told)}" + (f" ({', '.join(told)})" if told else ""),
        "short_filter": gain("LPF-3", BASELINE),
        "short_filter_mass": gain("MASS-LPF-3", "MASS"),
        "short_zero_padding": consistency("Baseline, zero padding"),
        "short_circular": consistency(BASELINE),
        "short_filter_consistency": consistency("LPF-3"),
        "short_augmented": consistency(augmented),
        "augmented_worst": f"{worst['consistency']:.1f}",
        "augmented_worst_kind": worst["input"].removeprefix("corrupted: "),
    }


def _paired(root: Path, topic: str, stage: str, method: str, against: str, **fields: Any) -> str:
    r = _one(root, topic, profile="reduced", stage=stage, method=method, against=against, **fields)
    p = p_value(r["p_holm"])
    return f"{difference(r['difference'], r['low'], r['high'])}, p {p if p[0] == '<' else '= ' + p}"


def _transfer(root: Path) -> Numbers:
    plain = _one(root, "weight_transfer", profile="reduced", method="plain", stage=None, rule=None, protocol="mass")
    views = {
        name: _paired(root, "weight_transfer", "top-1, paired", method, against, input=view)
        for name, method, against, view in (
            ("loss", "MASS", "plain", "squashed"),
            ("loss_cropped", "MASS", "plain", "cropped"),
            ("loss_borders", "circular padding", "plain", "squashed"),
            ("loss_origins", "MASS", "circular padding", "squashed"),
            ("mass_aps", "MASS", "APS", "squashed"),
        )
    }
    lite = {
        "lite": "EfficientNet-Lite0",
        "loss_lite": _paired(root, "imagenet", "top-1, paired", "MASS", "plain", model="efficientnet_lite0"),
    }
    tuned = _one(root, "fine_tuning", profile="reduced", method="MASS", stage="after")
    transferred = _one(root, "cifar10", method="MASS", stage="transferred", dataset="cifar10")
    again = _one(root, "cifar10", method="MASS", stage="fine-tuned", dataset="cifar10")
    original = _one(root, "cifar10", method="plain", stage="transferred", dataset="cifar10")
    canvas = {
        method: _one(root, "imagenet", profile="reduced", stage="canvas", method=method, input="256, border")
        for method in ("plain", "MASS")
    }
    return (
        views
        | lite
        | {
            "canvas_mass": f"{canvas['MASS']['identical']:.0f}",
            "canvas_plain": f"{canvas['plain']['identical']:.1f}",
            "canvas_images": str(canvas["MASS"]["moved"]),
            "canvas_top1": f"{canvas['MASS']['top1']:.1f}",
            "images": f"{plain['n']:,}",
            "tuned_images": str(tuned["tuned"]),
            "tuned_epochs": str(tuned["epochs"]),
            "tuned_lr": f"{tuned['lr']:g}",
            "tuned_consistency": f"{tuned['consistency']:.0f}",
            "tuned_against_plain": _paired(root, "fine_tuning", "paired", "MASS, tuned", "plain, tuned", input="top-1"),
            "cifar_original": f"{original['top1']:.1f}",
            "cifar_transferred": f"{transferred['top1']:.1f}",
            "cifar_tuned": f"{again['top1']:.1f}",
            "cifar_tuned_epochs": str(again["epochs"]),
        }
    )


def _noise(root: Path) -> Numbers:
    stage = "changed by noise, paired"
    asked = _one(root, "weight_transfer", profile="reduced", stage="noise", method="MASS")
    blended, plain = (
        _one(root, "stability_ways", stage="cost", model="mobilenet_v2", method=name)
        for name in ("MASS, blended", "plain")
    )
    return {
        "noise_levels": asked["input"].removeprefix("noise "),
        "noise_mass": _paired(root, "stability", stage, "MASS", "plain"),
        "noise_borders": _paired(root, "weight_transfer", "noise, paired", "circular padding", "plain"),
        "noise_flips": _paired(root, "weight_transfer", "noise, paired", "MASS", "MASS, origins frozen"),
        "noise_blended": _paired(root, "stability", stage, "MASS, blended", "MASS"),
        "noise_blended_circular": _paired(root, "stability", stage, "MASS, blended", "circular padding"),
        "blended_paths": f"{blended['paths']:.1f}",
        "blended_time": f"{blended['milliseconds'] / plain['milliseconds']:.1f}",
    }


def _exactness(root: Path) -> Numbers:
    worst = {
        net: _one(root, "lattices", profile="reduced", method="layer by layer", model=net)["relative_error"]
        for net in ("resnet18", "resnet50")
    }
    shared = _one(root, "lattices", method="MASS", model="resnet50", dataset="photographs")
    certificate = _one(root, "lattices", profile="reduced", stage="certificate")
    margins = [r for r in _found(root, "lattices", profile="reduced", model="mobilenet_v2") if "smallest" in r]
    return {
        "layerwise_resnet18": f"{worst['resnet18']:.0e}",
        "layerwise_resnet50": f"{100 * worst['resnet50']:.0f}",
        "shared_resnet50": f"{shared['relative_error']:g}",
        "residues": f"{certificate['shifts']:,}",
        "certified": f"{certificate['identical']} of {certificate['n']}",
        "margin_images": f"{margins[0]['n']:,}",
        "margin_smallest": f"{min(r['smallest'] for r in margins):.0e}",
        "margin_bfloat16": f"{mean(r['within_bfloat16'] for r in margins):.0f}",
    }


def _census(root: Path) -> Numbers:
    zoo = _found(root, "zoo")
    convolutional = [r for r in zoo if r["kind"] == "convolutional"]
    others = [r for r in zoo if r["kind"] != "convolutional"]
    decoders = [r for r in _found(root, "decoders") if not r["reason"].startswith("not offered")]
    libraries = _found(root, "libraries")
    return {
        "census_n": str(len(convolutional)),
        "census_converted": str(sum(bool(r["converts"]) for r in convolutional)),
        "census_float32": str(sum(bool(r.get("identical_float32")) for r in convolutional)),
        "census_bfloat16": str(sum(bool(r.get("identical_bfloat16")) for r in convolutional)),
        "census_others": str(len(others)),
        "census_others_float32": str(sum(bool(r.get("identical_float32")) for r in others)),
        "decoders": str(len({r["model"] for r in decoders})),
        "decoders_float32": str(sum(bool(r.get("identical_float32")) for r in decoders)),
        "decoders_n": str(len(decoders)),
        "libraries": str(len({r["library"] for r in libraries})),
        "libraries_n": str(len(libraries)),
        "libraries_float32": str(sum(bool(r.get("identical_float32")) for r in libraries)),
    }


def _cost(root: Path) -> Numbers:
    timed = [r for r in _found(root, "speed", method="MASS") if r.get("stage", "forward") == "forward" and "ratio" in r]
    groups = {
        "cost_cpu": [r for r in timed if r["device"] == "cpu"],
        "cost_compiled": [r for r in timed if r["device"] != "cpu" and r["input"] == "compiled"],
        "cost_eager": [r for r in timed if r["device"] != "cpu" and r["input"] == "eager"],
    }
    ranges = {
        name: f"{min(r['ratio'] for r in found):.2f} to {max(r['ratio'] for r in found):.2f}"
        for name, found in groups.items()
    }
    kept = [r for r in _found(root, "speed", stage="exactness") if r["input"] in ("eager", "compiled")]
    accelerator = next(r for r in timed if r["device"] != "cpu")
    awkward = _found(root, "speed", stage="settings", input="awkward images", setting="as it is")
    return ranges | {
        "accelerated_awkward": str(len(awkward)),
        "accelerated_awkward_broken": str(sum(r["identical"] < r["n"] for r in awkward)),
        "cost_accelerator": machine(accelerator),
        "cost_nets": str(len({r["net"] for r in timed})),
        "accelerated": str(len(kept)),
        "accelerated_exact": str(sum(r["identical"] == r["n"] for r in kept)),
    }
