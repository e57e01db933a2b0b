"""Command lines of modules that take names, or nothing: `--help` says what they do, and a misspelt name is refused before anything runs."""

from __future__ import annotations

import argparse
from collections.abc import Collection


def names_given(about: str | None, known: Collection[str] = ()) -> list[str]:
    """The names on the command line, each one of those known; where none is known, arguments are refused.

    Args:
        about: the module's docstring.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    if known:
        parser.add_argument("names", nargs="*", metavar="NAME", help="all without any; " + ", ".join(known))
    names: list[str] = getattr(parser.parse_args(), "names", [])
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown {', '.join(map(repr, unknown))}; choose from {', '.join(known)}.")
    return names
