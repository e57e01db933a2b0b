"""Where a run was trained: its spells, each the epochs that one code on one machine made in a row.

They are kept in the checkpoint, and beside the weights in spells.json: whoever measures the weights, later and perhaps elsewhere,
says of itself what is not true of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from companion.core.markdown import machine
from companion.core.provenance import any_modified

Spell = dict[str, Any]  # _FACTS, "started", and "from_epoch", counted from 1

_FACTS = ("commit", "modified", "device", "cpu", "torch")


def extended(spells: Sequence[Spell], facts: Mapping[str, Any], epoch: int) -> list[Spell]:
    """The spells of a run whose next epoch, number `epoch`, is made where `facts` (companion.core.provenance) are true.

    Of epochs that were made before spells were kept nothing is known: their facts are None.
    """
    before = list(spells)
    if epoch > 1 and not before:
        before = [dict.fromkeys((*_FACTS, "started")) | {"from_epoch": 1}]
    if before and all(before[-1][name] == facts[name] for name in _FACTS):
        return before
    return [*before, {name: facts[name] for name in (*_FACTS, "started")} | {"from_epoch": epoch}]


def told(spells: Sequence[Spell], measuring: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the training, flat, and whether code of training or measuring was modified.

    None is what nobody knows: all of it, where there are no spells.
    """
    return {
        "trained_commit": _in_turn(spells, lambda spell: spell["commit"]),
        "trained_on": _in_turn(spells, machine),
        "trained_started": spells[0]["started"] if spells else None,
        "modified": any_modified([measuring["modified"], *([spell["modified"] for spell in spells] or [None])]),
    }


def _in_turn(spells: Sequence[Spell], fact: Callable[[Spell], str | None]) -> str | None:
    """'A', or 'A to epoch 6, then B'."""
    turns = [(value, next(group)["from_epoch"]) for value, group in groupby(spells, fact)]
    if all(value is None for value, _ in turns):
        return None
    ends = [f" to epoch {first - 1}" for _, first in turns[1:]] + [""]
    return ", then ".join(f"{value or 'unknown'}{end}" for (value, _), end in zip(turns, ends, strict=True))
