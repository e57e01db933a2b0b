"""Making an executed notebook the same bytes wherever and whenever it was run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from nbformat import NotebookNode

from companion.core.errors import Refusal

# A slider is only text where no kernel runs: what it shows stands in the static figure beside it.
_WIDGET = "application/vnd.jupyter.widget-view+json"

# What tells of one machine: folders that only it has, and where its packages come from.
_TRACES = re.compile(
    r"(?<![\w.~/])/(?:home|root|Users|work|workspace|tmp|mnt|opt|srv|private|scratch)/[\w.-]+"
    r"|[A-Z]:\\\\?Users|index-url|\bhttps?://[^\s)>\"']*(?:/simple\b|artifactory|nexus|:\d{2,5}\b)",
)


def traces(text: str) -> list[str]:
    """What in a text tells of the machine it was made on: absolute paths, registry hosts."""
    return _TRACES.findall(text)


def refuse_traces(text: str, what: str) -> None:
    """Refuse a text to be published that tells of the machine it was made on."""
    if found := traces(text):
        raise Refusal(f"{what} names something of this machine ({found[0]}): keep it out of what is shown or recorded.")


def output_texts(notebook: NotebookNode) -> list[str]:
    """What a notebook's outputs say. Images are no text, though base64 has slashes too."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found += [output.get("text", ""), *output.get("traceback", [])]
            found += [str(text) for kind, text in output.get("data", {}).items() if not kind.startswith("image/png")]
    return found


def strip(notebook: NotebookNode, root: Path) -> None:
    """Remove timings, tools' metadata, widgets and their ids, addresses in memory and absolute paths."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    notebook.metadata.language_info = {"name": "python"}  # its version is in the provenance
    clean = _cleaner(root)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = NotebookNode(tags=tags) if tags else NotebookNode()
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if _WIDGET not in output.get("data", {})]
        for output in cell.outputs:
            output.pop("transient", None)
            if "metadata" in output:
                output.metadata = NotebookNode()
            _clean_output(output, clean)


def _clean_output(output: NotebookNode, clean: Callable[[str], str]) -> None:
    if "text" in output:
        output.text = clean(output.text)
    if "traceback" in output:
        output.traceback = [clean(line) for line in output.traceback]
        output.evalue = clean(output.evalue)
    for kind, content in output.get("data", {}).items():
        if isinstance(content, str) and not kind.startswith("image/png"):
            output.data[kind] = clean(content)


def _cleaner(root: Path) -> Callable[[str], str]:
    """The function that makes a text independent of the machine."""
    # The longest first: an environment may lie in the tree, and the tree in a home.
    places = {str(root): ".", str(Path(sys.prefix)): "<python>", sys.base_prefix: "<python>", str(Path.home()): "~"}
    ordered = sorted(((path, name) for path, name in places.items() if len(path) > 1), key=lambda item: -len(item[0]))

    def clean(text: str) -> str:
        for path, name in ordered:
            text = re.sub(re.escape(path) + r"(?![\w.-])", name, text)
        text = re.sub(r"(/[\w.-]+)*/ipykernel_\d+/\d+\.py", "<cell>", text)
        text = re.sub(r"\bat 0x[0-9a-fA-F]{6,}", "at 0x…", text)
        for number, name in enumerate(dict.fromkeys(re.findall(r"\bT_[0-9a-f]{5,8}(?=\b|_)", text))):
            text = text.replace(name, f"T_{number}")  # pandas draws a random name for every styled table
        return text

    return clean
