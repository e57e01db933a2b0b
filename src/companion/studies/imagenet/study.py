"""What the README is told of Table 3 at scale; it has no notebook of its own."""

from __future__ import annotations

from companion.core.study import Study
from companion.studies.imagenet.scale import page
from companion.studies.imagenet.tables import canvas, canvas_paired, rows, rows_paired

STUDY = Study(
    description="ImageNet - Table 3 row by row, and images on a larger canvas",
    benchmarks=("imagenet",),
    tables={"imagenet": rows, "imagenet_paired": rows_paired, "canvas": canvas, "canvas_paired": canvas_paired},
    pages={"docs/scale.md": page},
)
