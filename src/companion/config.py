"""The settings of every notebook, typed, from params.yaml.

A notebook's settings are a frozen dataclass below; its values stand in params.yaml, per profile. There are no
defaults and no extras: a key that is missing, unknown or of another type is refused with a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from companion.errors import Refusal
from companion.files import write_atomic
from companion.paths import PARAMS


@dataclass(frozen=True)
class Settings:
    """What every notebook has."""

    seed: int


@dataclass(frozen=True)
class StartHere(Settings):
    """00: one network, one picture moved around."""

    size: int  # side of the pictures, in pixels
    shifts: int  # random circular shifts tried


@dataclass(frozen=True)
class WhyNotInvariant(Settings):
    """01: why networks are not invariant."""

    size: int  # side of the picture that goes through MobileNetV2
    small: int  # side of the picture that single layers see
    filters: tuple[int, ...]  # sizes of the blur
    seeds: int  # random networks per filter
    max_shift: int  # shifts from 0 to here


@dataclass(frozen=True)
class MassLayer(Settings):
    """02: one layer."""

    size: int
    shifts: int


@dataclass(frozen=True)
class Lattices(Settings):
    """03: whole networks."""

    size: int
    shifts: int
    certified: int  # images under all residues
    certified_size: int
    images: int  # whose margins are read
    batch: int


@dataclass(frozen=True)
class GoingUp(Settings):
    """04: decoders."""

    height: int
    width: int
    shifts: int
    architectures: tuple[str, ...]  # of segmentation-models-pytorch
    encoder: str


@dataclass(frozen=True)
class Cifar10(Settings):
    """05: networks trained with every method of Table 2."""

    dataset: str
    nets: tuple[str, ...]
    methods: tuple[str, ...]  # keys of companion.methods.METHODS
    seeds: int  # runs of each
    compared: tuple[str, ...]  # methods that get more runs, to be told apart
    compared_seeds: int
    epochs: int
    batch: int
    precision: str
    jobs: int  # runs at once
    probed: int  # test pictures of the studies of corruptions and noise
    noises: tuple[float, ...]  # standard deviations, in grey levels
    trained_net: str  # whose weights are transferred: a net, and a file
    trained_weights: str
    finetune_epochs: int
    finetune_lr: float


@dataclass(frozen=True)
class WeightTransfer(Settings):
    """06: published weights in converted networks, without training."""

    size: int
    images: int  # how many of the ImageNet images at hand
    moved: int  # how many of these are moved in other ways than circularly
    batch: int
    noise: float  # standard deviation, in grey levels


@dataclass(frozen=True)
class Segmentation(Settings):
    """08: DeepLabV3+ trained with several ways of downsampling."""

    dataset: str
    net: str
    encoder_weights: str  # a file
    methods: tuple[str, ...]  # keys of companion.methods.METHODS
    seeds: int
    iterations: int
    batch: int
    lr: float
    size: int  # side of crops and of framed test pictures, in pixels
    precision: str
    jobs: int  # runs at once
    shown: tuple[int, ...]  # test pictures to look at
    shifts: int  # of the first of them


@dataclass(frozen=True)
class Cost(Settings):
    """12: what exactness costs."""

    networks: tuple[str, ...]
    size: int
    batch: int
    rounds: int  # of which each time is the median
    sides: tuple[int, ...]  # of square maps, as cost grows
    batches: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class PaperAndErrata(Settings):
    """13: the paper's tables and figures beside ours."""


NOTEBOOKS: dict[str, type[Settings]] = {
    "00_start_here": StartHere,
    "01_why_not_invariant": WhyNotInvariant,
    "02_mass_layer": MassLayer,
    "03_lattices": Lattices,
    "04_going_back_up": GoingUp,
    "05_cifar10": Cifar10,
    "06_weight_transfer": WeightTransfer,
    "08_segmentation": Segmentation,
    "12_cost": Cost,
    "13_paper_and_errata": PaperAndErrata,
}


@dataclass(frozen=True)
class Config:
    """All of params.yaml: the profiles that `dvc repro` runs, and every profile's settings by notebook."""

    profiles: tuple[str, ...]
    settings: dict[str, dict[str, Settings]]

    def of(self, notebook: str, profile: str) -> Settings:
        """The settings of one notebook in one profile."""
        return _one_of(notebook, _one_of(profile, self.settings, f"profile in {PARAMS}"), f"notebook of {profile}")


def load_config(root: Path) -> Config:
    """Read and check params.yaml."""
    try:
        # ruamel reads YAML 1.2, as DVC does: 1e-3 is a number (to PyYAML it is a string).
        content = YAML(typ="safe", pure=True).load((root / PARAMS).read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise Refusal(f"{PARAMS} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("profiles"), list) or not content["profiles"]:
        raise Refusal(f"{PARAMS} must name the profiles to run, as in `profiles: [quick]`.")
    profiles = tuple(content.pop("profiles"))
    settings = {profile: _profile(profile, notebooks) for profile, notebooks in content.items()}
    for profile in profiles:
        _one_of(profile, settings, f"profile in {PARAMS}")
    return Config(profiles, settings)


def choose_profile(root: Path, profile: str) -> bool:
    """Make `profile` the one that `dvc repro` runs by rewriting one line of params.yaml; whether it changed."""
    config = load_config(root)
    _one_of(profile, config.settings, f"profile in {PARAMS}")
    text = (root / PARAMS).read_text(encoding="utf-8")
    # DVC's way of selecting (dvc exp run -S) would delete the other profiles' results.
    changed, lines = re.subn(r"(?m)^profiles:.*$", f"profiles: [{profile}]", text)
    if lines != 1:
        raise Refusal(f"{PARAMS} must hold its profiles on one line, as in `profiles: [{profile}]`.")
    if changed == text:
        return False
    write_atomic(root / PARAMS, changed)
    return True


def _profile(profile: str, notebooks: Any) -> dict[str, Settings]:
    if not isinstance(notebooks, dict):
        raise Refusal(f"{PARAMS}: {profile} must be a profile, that is, notebooks with their settings.")
    return {
        name: _typed(f"{PARAMS}: {profile}.{name}", _one_of(name, NOTEBOOKS, f"notebook ({PARAMS})"), values)
        for name, values in notebooks.items()
    }


def _typed(where: str, kind: type[Settings], values: Any) -> Settings:
    """The dataclass `kind` from a mapping that holds exactly its fields."""
    values = values or {}
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise Refusal(f"{where} has no setting {name!r}; known: {', '.join(hints)}.")
    for field in fields(kind):
        if field.name not in values:
            raise Refusal(f"{where} lacks the setting {field.name!r}.")
    return kind(**{name: _value(f"{where}.{name}", hint, values[name]) for name, hint in hints.items()})


def _value(where: str, hint: Any, value: Any) -> Any:
    """`value` as the annotated type; an int passes as a float, a list as a tuple, and nothing else is bent."""
    if hint is float and type(value) is int:
        return float(value)
    items = getattr(hint, "__args__", ())  # tuple[int, ...] and the like
    if items and isinstance(value, list):
        return tuple(_value(f"{where}[{i}]", items[0], item) for i, item in enumerate(value))
    if items or type(value) is not hint:
        wanted = f"list of {items[0].__name__}" if items else hint.__name__
        raise Refusal(f"{where} must be {wanted}, not {value!r} ({type(value).__name__}).")
    return value


def _one_of(name: Any, table: dict[str, Any], what: str) -> Any:
    if name not in table:
        raise Refusal(f"There is no {what} named {name!r}; known: {', '.join(map(str, table))}.")
    return table[name]
