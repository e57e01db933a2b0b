"""The article: `python -m companion.publishing.article.build`, or `make article`.

article/article.typ holds the sentences, article/form.typ how they are set; numbers and tables are given to both from results/,
by name. What is built is build/article/article.pdf, and beside it the metadata.yaml that a journal asks for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

from companion.core.errors import Refusal
from companion.core.files import write_atomic
from companion.core.paths import find_root
from companion.paper.errata import FORMULAS, NUMBERS, SENTENCES
from companion.publishing.article.numbers import Numbers, numbers
from companion.publishing.article.sheets import Sheet, sheet
from companion.publishing.readme import TABLES
from companion.studies.paper_and_errata.claims import decided

FOLDER = "article"


def inputs(root: Path) -> dict[str, Any]:
    """What the sentences may name: `numbers`, `sheets` of what is published, the `claims`, and the `metadata`."""
    told = numbers(root)
    return {
        "numbers": told,
        "sheets": _sheets(root),
        "claims": [[claim.where, claim.quote, verdict] for claim, verdict, _ in decided(root)],
        "errata": str(sum(e.matters for e in (*NUMBERS, *FORMULAS, *SENTENCES))),
        "metadata": YAML(typ="safe").load(metadata(root, told)),
    }


def _sheets(root: Path) -> dict[str, Sheet]:
    made = {name: sheet(table(root)) for name, table in TABLES.items()}
    return {name: found for name, found in made.items() if found is not None}


def metadata(root: Path, told: Numbers) -> str:
    """article/metadata.yaml, its {names} replaced by numbers."""
    text = (root / FOLDER / "metadata.yaml").read_text(encoding="utf-8")
    try:
        return text.format_map(told)
    except KeyError as missing:
        raise Refusal(f"article/metadata.yaml names a number {missing} that nobody computes.") from None


def build(root: Path, format: Literal["pdf", "png"] = "pdf") -> list[bytes]:
    """The article as PDF, or as PNG page by page.

    Raises:
        Refusal: where a record is absent, or a name is unknown.
    """
    try:
        import typst
    except ModuleNotFoundError:
        raise Refusal("The article is set by typst: pip install '.[article]'.") from None
    given = {"given": json.dumps(inputs(root), ensure_ascii=False)}
    try:
        made = typst.compile(
            root / FOLDER / "article.typ", root=root, format=format, sys_inputs=given, ignore_system_fonts=True, ppi=110
        )
    except typst.TypstError as error:
        raise Refusal(f"article/article.typ cannot be set: {error}") from None
    return [made] if isinstance(made, bytes) else list(made)  # one page is no list


def write(root: Path) -> Path:
    """Build it all into build/article; returns the PDF."""
    folder = root / "build" / FOLDER
    (document,) = build(root)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "article.pdf", document)
    write_atomic(folder / "metadata.yaml", metadata(root, numbers(root)))
    return folder / "article.pdf"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m companion.publishing.article.build", description=__doc__.split("\n\n")[0]
    )
    parser.parse_args()
    try:
        root = find_root()
        print(f"{write(root).relative_to(root).as_posix()}, and metadata.yaml beside it")
    except Refusal as refusal:
        sys.exit(f"article: {refusal}")


if __name__ == "__main__":
    main()
