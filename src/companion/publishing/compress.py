"""Figures small enough for git: fewer colours first, then fewer pixels."""

from __future__ import annotations

import base64
import copy
import io

import nbformat
from nbformat import NotebookNode
from PIL import Image

NOTEBOOK = 1_000_000  # bytes, at most
FIGURE = 500_000

# Tried in turn: (colours, scale).
_STEPS = ((256, 1.0), (256, 0.75), (128, 0.6), (64, 0.5), (64, 0.35))


def smaller(png: bytes, colours: int, scale: float) -> bytes:
    """The figure with a palette of so many colours, and scaled; as it was where that would not save anything."""
    with Image.open(io.BytesIO(png)) as opened:
        flat = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened.convert("RGBA")).convert("RGB")
    if scale < 1:
        flat = flat.resize([round(side * scale) for side in flat.size], Image.Resampling.LANCZOS)
    file = io.BytesIO()
    flat.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return min(png, file.getvalue(), key=len)


def shrink_figure(png: bytes) -> bytes:
    """A figure of at most FIGURE bytes, or the smallest there is."""
    made = png
    for colours, scale in _STEPS:
        if len(made) <= FIGURE:
            break
        made = smaller(png, colours, scale)
    return made


def shrink_notebook(notebook: NotebookNode) -> str | None:
    """The notebook as text of at most NOTEBOOK bytes, or None when that cannot be had.

    Only the largest figures give way, one after the other: the rest keep all their pixels.
    """
    notebook = copy.deepcopy(notebook)
    originals = [
        (output.data, base64.b64decode(output.data["image/png"]))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    originals.sort(key=lambda item: -len(item[1]))
    for colours, scale in ((0, 1.0), *_STEPS):
        for data, png in originals:
            if len((text := nbformat.writes(notebook) + "\n").encode()) <= NOTEBOOK:
                return text
            if colours:
                data["image/png"] = base64.b64encode(smaller(png, colours, scale)).decode() + "\n"
    text = nbformat.writes(notebook) + "\n"
    return text if len(text.encode()) <= NOTEBOOK else None
