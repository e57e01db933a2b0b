"""The census as a table of every network of results/zoo.json, sorted by whichever column is clicked.

`make publish` writes docs/zoo.html, a self-contained page; on the site the table stands in docs/coverage.md.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from companion.core.markdown import machine
from companion.core.published import read_results
from companion.core.records import Record

PLACE = "docs/zoo.html"

# What a cell shows and what it is sorted by; None where a record says nothing.
_COLUMNS: dict[str, Callable[[Record], Any]] = {
    "Network": lambda r: r["model"].partition("/")[2],
    "Library": lambda r: r["library"],
    "Family": lambda r: r["module"],
    "Kind": lambda r: r["kind"],
    "Converts": lambda r: r["converts"],
    "Operations": lambda r: r.get("operations"),
    "Origins": lambda r: r.get("origins"),
    "Whole map": lambda r: r.get("whole_map"),
    "Pixels": lambda r: r.get("input_size"),
    "float32": lambda r: r.get("identical_float32"),
    "bfloat16": lambda r: r.get("identical_bfloat16"),
    "Worst difference": lambda r: _worst(r),
    "Seconds": lambda r: r["took"],
    "Why not": lambda r: "; ".join(filter(None, [r["reason"], *_not_run(r)])) or None,
}

_STYLE = """
.zoo { overflow: auto; max-height: 85vh; font-size: 85% }
.zoo table { border-collapse: collapse }
.zoo th, .zoo td { padding: .25em .7em; border-bottom: 1px solid #8884; text-align: left; vertical-align: top }
.zoo td.number { text-align: right; font-variant-numeric: tabular-nums }
.zoo td.no { color: #d5352b; font-weight: 600 }
.zoo th { position: sticky; top: 0; background: var(--pst-color-background, Canvas); white-space: nowrap }
.zoo th button { all: unset; cursor: pointer; font-weight: 600 }
.zoo th button:focus-visible { outline: 2px solid #1f77b4 }
.zoo th[aria-sort=ascending] button::after { content: " \\25B2" }
.zoo th[aria-sort=descending] button::after { content: " \\25BC" }
"""

# Numbers as numbers, texts as texts, what is not there last whichever way.
_SCRIPT = """
const body = document.querySelector(".zoo tbody"), heads = [...document.querySelectorAll(".zoo th")];
heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
  const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const value = row => row.cells[column].dataset.value;
  const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  body.append(...[...body.rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return (x === "") - (y === "") || down * compare(x, y);
  }));
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
}));
"""

_TABLE = """<style>{style}</style>
<div class="zoo"><table><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table></div>
<script>{{{script}}}</script>"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>MASS: the census of the zoo</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em }} p {{ max-width: 60em }}</style></head>
<body><h1>The census of the zoo</h1>
<p>{summary} Random weights; each network on a photograph and on four random circular shifts of it. Operations have a period,
and those that meet share an origin; where nothing else is known of an operation its period is the whole map. In float32 and
bfloat16: is the output bit-identical? The worst difference is that in float32, as a share of the largest output. {runs}
Click a heading to sort.</p>
{table}</body></html>
"""


def zoo_page(root: Path) -> str | None:
    """The page, or None when no census was published."""
    records = read_results(root, "zoo")
    if not records:
        return None
    exact = sum(r.get("identical_float32", False) and r.get("identical_bfloat16", False) for r in records)
    converted = sum(r["converts"] for r in records)
    summary = f"{len(records)} networks: {converted} convert, {exact} of them bit-identical in both precisions."
    runs = sorted({f"{r['started'][:10]}, {machine(r)}, torch {r['torch']}" for r in records})
    return _PAGE.format(summary=summary, runs=escape(f"Measured {'; '.join(runs)}."), table=zoo_table(root))


def zoo_table(root: Path) -> str | None:
    """Its table alone, with the style and the script that it needs; None when no census was published."""
    records = read_results(root, "zoo")
    if not records:
        return None
    return _TABLE.format(
        style=_STYLE,
        script=_SCRIPT,
        heads="".join(f'<th><button type="button">{escape(name)}</button></th>' for name in _COLUMNS),
        rows="\n".join(_row(record) for record in records),
    )


def _row(record: Record) -> str:
    return "<tr>" + "".join(_cell(column(record)) for column in _COLUMNS.values()) + "</tr>"


def _cell(value: Any) -> str:
    if value is None:
        return '<td data-value="">–</td>'
    if isinstance(value, bool):
        word = "yes" if value else "no"
        return f'<td class="{word}" data-value="{word}">{word}</td>'
    if isinstance(value, (int, float)):
        return f'<td class="number" data-value="{value}">{_short(value)}</td>'
    return f'<td data-value="{escape(value)}">{escape(value)}</td>'


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.1e}" if 0 < value < 1e-3 else f"{value:g}"


def _worst(record: Record) -> float | None:
    """Of an output that was no number, the census says -1."""
    difference = record.get("max_relative_difference_float32")
    return None if difference is None or difference < 0 else difference


def _not_run(record: Record) -> list[str]:
    return [f"{d}: {record[f'not_run_{d}']}" for d in ("float32", "bfloat16") if f"not_run_{d}" in record]
