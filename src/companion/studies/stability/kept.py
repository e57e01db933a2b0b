"""What is finished of a long measurement of this study, so that a run that was killed goes on where it stood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from companion.core.provenance import provenance
from companion.measures.accuracy import Prepare
from companion.studies.stability.answers import Answers, Change, answers
from companion.training.checkpoint import load_tensors, save_tensors


class Kept:
    """Values in a folder, by name: none is made again from the same settings by the same code.

    The code is told by its commit. In a tree that was modified since, everything is made anew.

    Args:
        root: the project's; kept: the folder; made: settings of all values.
    """

    def __init__(self, root: Path, kept: Path, made: Mapping[str, Any] | None = None) -> None:
        self.facts = provenance(root)
        self.kept, self.made = kept, {**(made or {}), "commit": self.facts["commit"]}

    def once(self, name: str, made: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """What `make` gives (tensors and numbers in dicts and lists), or gave by the same settings `made`."""
        path = self.kept / f"{name.replace(' ', '-').replace(',', '').replace(';', '')}.pt"
        settings = {**self.made, **made}
        if path.exists() and not self.facts["modified"]:
            found = load_tensors(path)
            if found["made"] == settings:
                return found["value"]
        value = make()
        save_tensors(path, {"made": settings, "value": value})
        return value

    def answered(self, name: str, made: Mapping[str, Any], ask: Callable[[], Answers]) -> Answers:
        """The same for a network's answers."""
        return Answers(**self.once(f"answers of {name}", made, lambda: vars(ask())))

    def asked(
        self,
        networks: Mapping[str, nn.Module],
        batches: Iterable[tuple[Tensor, Tensor]],
        prepare: Prepare,
        changes: Mapping[str, Change],
        seed: int,
    ) -> dict[str, Answers]:
        """What each of several networks answers (`companion.studies.stability.answers.answers`)."""
        how = {"changes": list(changes), "seed": seed}
        return {
            name: self.answered(name, how, partial(answers, network, batches, prepare, changes, seed, name))
            for name, network in networks.items()
        }
