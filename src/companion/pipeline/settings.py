"""The settings of every notebook, typed, from params.yaml.

A notebook's settings are a frozen dataclass in its study; their values stand in params.yaml, per profile. There are no
defaults and no extras: a key that is missing, unknown or of another type is refused with a sentence.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from companion.core.errors import Refusal
from companion.core.files import write_atomic
from companion.core.paths import PARAMS
from companion.core.study import SEEDS, Settings, Study
from companion.studies import all_studies

NOTEBOOKS: dict[str, Study] = {study.notebook: study for study in all_studies() if study.notebook}

_STRIDE = 32  # the largest total stride of the notebooks' networks
_SIDES = ("size", "certified_size", "small", "height", "width", "sides")  # settings that are images' sides, in pixels


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
    except (OSError, UnicodeDecodeError, YAMLError) as error:
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
        name: _typed(f"{PARAMS}: {profile}.{name}", _one_of(name, NOTEBOOKS, f"notebook ({PARAMS})").settings, values)
        for name, values in notebooks.items()
    }


def _typed(where: str, kind: type[Settings], values: Any) -> Settings:
    """The dataclass `kind` from a mapping that holds exactly its fields."""
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise Refusal(f"{where} must be a block of settings, not {values!r}.")
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
    if isinstance(value, int | float):
        _check_number(where, value)
    return value


def _check_number(where: str, value: float) -> None:
    """What no notebook can do anything with; it would say so later, and in its own words."""
    name = re.sub(r"\[\d+\]$", "", where).rpartition(".")[2]
    if not 0 <= value < math.inf:
        raise Refusal(f"{where} must be a number from 0 on, not {value!r}.")
    if name == "seed" and value not in SEEDS:
        raise Refusal(f"{where} must be at most {SEEDS[-1]:,}, not {value!r}.")
    if name in _SIDES and (value == 0 or value % _STRIDE):
        raise Refusal(f"{where} must be a multiple of {_STRIDE}, the networks' total stride, not {value!r}.")


def _one_of(name: Any, table: dict[str, Any], what: str) -> Any:
    if not isinstance(name, str) or name not in table:
        raise Refusal(f"There is no {what} named {name!r}; known: {', '.join(map(str, table))}.")
    return table[name]
