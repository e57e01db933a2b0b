"""docs/design.md shows one small network at each step of its conversion: printed here, so that it cannot go stale.

`python tests/test_design.py` writes the printed blocks anew.
"""

import inspect
import pkgutil
import re
import sys
from pathlib import Path

import torch
from torch import nn

import mass
from mass.fx.fuse import drop_unread, fuse_shifts
from mass.fx.infer import infer
from mass.fx.lattice import Grid, stride
from mass.fx.nodes import module_of, name_of, nodes_in
from mass.fx.rewrite import Rewriter
from mass.fx.tracing.trace import trace

PAGE = Path(__file__).parents[1] / "docs/design.md"


class Small(nn.Module):
    """A stem, a block with a shortcut, both strided, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.main = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.shortcut = nn.Conv2d(4, 8, 1, stride=2)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10)

    def forward(self, x):
        y = self.stem(x).relu()
        y = self.main(y) + self.shortcut(y)
        return self.head(self.pool(y).flatten(1))


def table(rows):
    """Rows of words, in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def graph(module, shapes=False):
    """A graph, node by node: its name, what it calls, what it reads, and the shape of what it returns."""
    rows = [("node", "calls", "reads", *["returns"] * shapes)]
    for node in module.graph.nodes:
        if node.op == "output":
            continue
        called = type(module_of(node)).__name__ if node.op == "call_module" else name_of(node)
        called = "" if node.op == "placeholder" else called
        rows.append(
            (
                node.name,
                called,
                ", ".join(map(str, nodes_in((node.args, node.kwargs)))),
                *[str(node.meta.get("shape"))] * shapes,
            )
        )
    return table(rows)


def steps():
    """What each step makes of the network."""
    torch.manual_seed(0)
    model, x = Small().eval(), torch.randn(2, 3, 16, 16)
    traced = trace(model, x)
    found = {"trace": graph(traced, shapes=True)}
    plan = infer(traced)
    number = {}
    rows = [("node", "period", "total stride", "digits")]
    for node, value in plan.values.items():
        if isinstance(value, Grid) or node in plan.digits:
            period = plan.effects[node].period if node in plan.digits else ""
            lattice = value.lattice if isinstance(value, Grid) else ()
            digits = [f"o{number.setdefault(digit.find()[0], len(number) + 1)}" for digit in lattice]
            rows.append((node.name, str(period), str(stride(lattice)), " ".join(digits)))
    found["infer"] = table(rows)
    converted = Rewriter(plan, "l2").run()
    found["rewrite"] = graph(converted)
    fuse_shifts(converted)
    drop_unread(converted)
    found["fuse"] = graph(converted)
    rows = [("shift", "mass_origin_1", "mass_origin_2", "total origin", "largest difference of a logit")]
    with torch.no_grad():
        still = converted(x)
    for t in ((0, 0), (1, 0), (3, 5), (15, 14)):
        with torch.no_grad(), mass.record_origins(converted) as passes:
            y = converted(mass.shift(x, torch.tensor(t)))
        first, second = (origin.origin for origin in passes[0])
        origins = [" ".join(map(str, map(tuple, o.tolist()))) for o in (first, second, first + 2 * second)]
        rows.append((str(t), *origins, str((y - still).abs().max().item())))
    found["verify"] = table(rows)
    return found


def block(name, text):
    return f"<!-- step: {name} -->\n```text\n{text}\n```\n<!-- /step -->"


PATTERN = re.compile(r"<!-- step: (\w+) -->\n.*?<!-- /step -->", re.DOTALL)


def test_the_page_shows_what_is_printed():
    page, printed = PAGE.read_text(encoding="utf-8"), steps()
    shown = {match.group(1): match.group(0) for match in PATTERN.finditer(page)}
    assert shown == {name: block(name, text) for name, text in printed.items()}


def test_the_small_network_is_the_one_on_the_page():
    assert inspect.getsource(Small) in PAGE.read_text(encoding="utf-8")


def test_files_that_the_page_names_exist():
    names = re.findall(r"`((?:src|tests|docs)/[\w/.]+)`", PAGE.read_text(encoding="utf-8"))
    assert names and not [name for name in names if not (PAGE.parents[1] / name).exists()]


def test_modules_that_the_page_names_exist():
    names = set(re.findall(r"`(mass\.[\w.]+)`", PAGE.read_text(encoding="utf-8")))
    assert names and not [name for name in names if pkgutil.resolve_name(name) is None]


if __name__ == "__main__":
    printed = steps()
    text = PATTERN.sub(lambda m: block(m.group(1), printed[m.group(1)]), PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    sys.exit(0)
