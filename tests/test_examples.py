"""Examples in docstrings are run, all of them."""

import doctest
import importlib
import importlib.util
import pkgutil

import pytest
import torch

import mass

# Triton's kernels have no examples, and importing them needs Triton; the callback needs Lightning.
MODULES = [
    "mass",
    *(
        m.name
        for m in pkgutil.walk_packages(mass.__path__, "mass.")
        if ".gpu" not in m.name and m.name != "mass.lightning"
    ),
    *(["mass.lightning"] if importlib.util.find_spec("lightning") else []),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    torch.manual_seed(0)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_public_names_have_examples_or_are_data():
    """What a reader calls first shows how."""
    finder = doctest.DocTestFinder(recurse=False)
    shown = {name for name in mass.__all__ if any(test.examples for test in finder.find(getattr(mass, name), name))}
    missing = {name for name in mass.__all__ if callable(getattr(mass, name))} - shown
    assert missing == {
        "Certificate", "ComparedOutput", "CoordinatesWarning", "Explanation", "NotEquivariantError", "Outcome", "OutputOrigin",
        "RecordedOrigin",
    }  # fmt: skip
