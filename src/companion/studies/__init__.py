"""One folder a study: its settings, measurements, figures and tables. Studies never import each other."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from companion.core.study import Study


@cache
def all_studies() -> tuple[Study, ...]:
    """The object STUDY of every folder's study.py: in the order of their notebooks, then those that have none."""
    modules = [import_module(f"{__name__}.{found.name}.study") for found in pkgutil.iter_modules(__path__)]
    return tuple(sorted((module.STUDY for module in modules), key=lambda study: (not study.notebook, study.notebook)))
