"""Badges that open notebook 00 elsewhere: `python -m companion.publishing.badges`.

They need the address of a public repository: `Repository` under `[project.urls]` in pyproject.toml. Without one there are none, for
a badge that leads nowhere is worse than no badge. They are written between two markers of the notebook's source and of its pair.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import nbformat

from companion.core.command_line import names_given
from companion.core.errors import Refusal
from companion.core.files import write_atomic
from companion.core.paths import find_root

NOTEBOOK = "00_start_here"
_MARKED = re.compile(r"<!-- badges -->.*?<!-- /badges -->", re.DOTALL)


def badges(root: Path) -> str:
    """What stands between the markers: nothing without an address.

    Raises:
        Refusal: for an address that is not a repository's on GitHub, where both services look.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository", "").removesuffix("/").removesuffix(".git")
    if not address:
        return ""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address)
    if found is None:
        raise Refusal(f"Badges need https://github.com/OWNER/REPOSITORY as the project's Repository, not {address!r}.")
    name, place = found[1], f"notebooks/{NOTEBOOK}.ipynb"
    colab = f"https://colab.research.google.com/github/{name}/blob/main/{place}"
    binder = f"https://mybinder.org/v2/gh/{name}/main?labpath={place}"
    folder = name.split("/")[1]
    return f"""
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})
[![Launch Binder](https://mybinder.org/badge_logo.svg)]({binder})

On Colab, put this into a cell above and run it first:

```
!git clone --depth 1 {address} && pip install -q -e "{folder}[paper]" && cd {folder} && python -m companion.fetch
%cd {folder}/notebooks
```
"""


def write(root: Path) -> list[Path]:
    """Write them into the notebook's source and its pair; returns what has changed."""
    made = f"<!-- badges -->{badges(root)}<!-- /badges -->"
    source = root / "notebooks" / f"{NOTEBOOK}.py"
    pair = source.with_suffix(".ipynb")
    commented = "\n".join(f"# {line}".rstrip() if k else line for k, line in enumerate(made.split("\n")))
    texts = {source: _replaced(source.read_text(encoding="utf-8"), commented, source)}
    if pair.exists():
        notebook = nbformat.read(pair, as_version=4)
        notebook.cells[0].source = _replaced(notebook.cells[0].source, made, pair)
        texts[pair] = nbformat.writes(notebook) + "\n"
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        write_atomic(path, texts[path])
    return changed


def _replaced(text: str, made: str, path: Path) -> str:
    replaced, count = _MARKED.subn(lambda _: made, text)
    if count != 1:
        raise Refusal(
            f"{path.name} must have one pair of the markers <!-- badges --> and <!-- /badges -->, it has {count}."
        )
    return replaced


def main() -> None:
    """The command line."""
    names_given(__doc__)
    try:
        root = find_root()
        changed = write(root)
        print("\n".join(path.relative_to(root).as_posix() for path in changed) or "Badges are as they should be.")
    except Refusal as refusal:
        sys.exit(f"badges: {refusal}")


if __name__ == "__main__":
    main()
