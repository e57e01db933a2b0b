"""What a study tells the pipeline and the README: an object in its folder, found there and listed nowhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SEEDS = range(1 << 24)  # the training loop makes a seed of 64 bits of one of these, an epoch and a step

Table = Callable[[Path], str]  # the project's folder -> Markdown
Page = Callable[[Path], str | None]  # the project's folder -> HTML; None when nothing is published yet


@dataclass(frozen=True)
class Settings:
    """What every notebook has."""

    seed: int


@dataclass(frozen=True)
class Study:
    """One folder of `companion.studies`.

    Attributes:
        description: a line about it; that of its stage, where it has a notebook.
        notebook: its notebook's name, as 05_cifar10; '' where it has none.
        settings: the types of its settings; their values stand in params.yaml, by profile and notebook.
        inputs: files and folders of data/ that its stage depends on.
        remark: a comment on them, for readers of dvc.yaml.
        keeps_checkpoints: whether what it trains stays in checkpoints/ when it is run again.
        benchmarks: topics of results/ that no notebook makes, but a command of this study.
        tables: of the README, by name.
        pages: by place in the tree.
    """

    description: str
    notebook: str = ""
    settings: type[Settings] = Settings
    inputs: tuple[str, ...] = ()
    remark: str = ""
    keeps_checkpoints: bool = False
    benchmarks: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
