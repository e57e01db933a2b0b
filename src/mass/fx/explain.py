"""`explain`: what converting a model changes and why, operation by operation."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from mass.families import family_of
from mass.fx.nodes import name_of, place_of
from mass.fx.outputs import about_coordinates
from mass.fx.plan import Plan
from mass.fx.planning import planned
from mass.fx.tracing.example import as_example
from mass.fx.tracing.plain import require_plain

COLUMNS = ("operation", "kind", "period", "origin", "changes", "breaks the plain model")


@dataclass
class Explanation:
    """A table of operations (`rows`) and the changes they share (`summary`); prints, and renders in notebooks.

    Attributes:
        rows: one dict per operation with a period, per reduction over positions and per refusal, keys `COLUMNS`.
        summary: one sentence on the whole model.
        convertible: whether `mass.convert` would succeed.
    """

    rows: list[dict[str, str]]
    summary: str
    convertible: bool

    def __str__(self) -> str:
        widths = {c: max([len(c), *(len(row[c]) for row in self.rows)]) for c in COLUMNS}
        table = [dict(zip(COLUMNS, COLUMNS, strict=True)), {c: "-" * widths[c] for c in COLUMNS}, *self.rows]
        return "\n".join(
            [*("  ".join(row[c].ljust(widths[c]) for c in COLUMNS).rstrip() for row in table), self.summary]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def cells(tag: str, values: Any) -> str:
            return (
                "<tr>" + "".join(f"<{tag} style='text-align:left'>{html.escape(v)}</{tag}>" for v in values) + "</tr>"
            )

        body = "".join(cells("td", (row[c] for c in COLUMNS)) for row in self.rows)
        return f"<table>{cells('th', COLUMNS)}{body}</table><p>{html.escape(self.summary)}</p>"

    def to_dataframe(self) -> Any:
        """The rows as a `pandas.DataFrame` (needs pandas)."""
        import pandas

        return pandas.DataFrame(self.rows, columns=list(COLUMNS))


def explain(model: nn.Module, example_input: Any) -> Explanation:
    """What `mass.convert` would change: size-changing operations, their periods, and which share an origin.

    Refusals are rows of the table, not errors, so a model that cannot be converted explains why.

    Args: as `mass.convert`.

    Raises:
        NotEquivariantError: only where the model cannot be traced or does not run.
        TypeError, ValueError: for a wrong example, and for a model that was wrapped, compiled or converted.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    >>> print(explain(model, torch.rand(1, 3, 8, 8)))
    operation  kind               period  origin  changes                                    breaks the plain model
    ---------  -----------------  ------  ------  -----------------------------------------  ----------------------------------------------
    0          Conv2d             2       1       origin from the features, circular border  samples a fixed grid, padding marks the border
    2          AdaptiveAvgPool2d                  exact mean                                 adds in the order of positions
    1 operation with a period in 1 origin group.
    """
    if (family := family_of(model)) is not None:
        return family.explain(model, example_input)
    require_plain(model)
    found = planned(model, as_example(example_input))
    plan = found.plan
    refused = dict(plan.refusals)
    groups: dict[Any, int] = {}
    rows, quiet = [], Counter[str]()
    for node in plan.graph.graph.nodes:
        effect = plan.effects.get(node)
        if node in refused:
            rows.append(_row(node, plan, "", "", f"refused: {refused[node].reason}", ""))
        elif node in plan.digits and effect is not None:
            root, low = plan.digits[node].find()
            group = str(groups.setdefault(root, len(groups) + 1)) + ("" if low == (1, 1) else f" / {low[0]}")
            rows.append(
                _row(node, plan, _period(effect.period[2 - len(plan.dims) :]), group, effect.change, effect.breaks)
            )
        elif effect is not None and effect.change.startswith("exact"):
            rows.append(_row(node, plan, "", "", effect.change, "adds in the order of positions"))
        elif effect is not None and effect.change:
            quiet[effect.change] += 1
    others = "".join(f" {_count(n, 'more operation')}: {change}." for change, n in quiet.items())
    if plan.refusals:
        summary = f"Cannot be converted: {_count(len(plan.refusals), 'refusal')}; the first, {plan.refusals[0][1]}"
    else:
        summary = (
            f"{_count(len(plan.digits), 'operation')} with a period in {_count(len(groups), 'origin group')}.{others}"
        )
        for path, refusal in found.whole.items():
            summary += f" '{path}' stays whole: {refusal.reason} (node '{refusal.node}')."
        told = about_coordinates(list(plan.from_whole_map))
        summary += f" {told}" if told else ""
    return Explanation(rows, summary, not plan.refusals)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + "s" * (n != 1)


def _period(period: tuple[int, ...]) -> str:
    return " x ".join(map(str, period if len(set(period)) > 1 else period[:1]))


def _row(node: fx.Node, plan: Plan, period: str, origin: str, changes: str, breaks: str) -> dict[str, str]:
    is_module = node.op == "call_module"
    kind = type(plan.graph.get_submodule(str(node.target))).__name__ if is_module else name_of(node)
    return dict(zip(COLUMNS, (place_of(node), kind, period, origin, changes, breaks), strict=True))
