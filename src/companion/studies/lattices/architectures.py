"""The paper's Table 1 and Figure 3, read off the architectures by lattice inference instead of by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
import torchvision
from torch import Tensor, nn

import mass
from companion.models.random_weights import calibrated
from mass.fx.infer import infer
from mass.fx.plan import Plan
from mass.fx.tracing.trace import trace
from mass.nn.conv import CircularConv2d

# The paper's columns, each by one member of the family.
TABLE_1 = {
    "ResNet": "resnet18",
    "DenseNet": "densenet121",
    "MobileNet": "mobilenet_v2",
    "ConvNeXt": "convnext_tiny",
}
# The paper's Table 1, row by row. It lists DenseNet's first two and three transitions, as the code here finds them.
PAPER_TABLE_1 = {
    "ResNet": ["StrideConv", "MaxPool", "StrideConv", "StrideConv", "StrideConv"],
    "DenseNet": ["StrideConv", "MaxPool", "AvgPool", "AvgPool", "AvgPool"],
    "MobileNet": ["StrideConv"] * 5,
    "ConvNeXt": ["StrideConv(s=4)", "-", "StrideConv", "StrideConv", "StrideConv"],
}
_KINDS = {nn.Conv2d: "StrideConv", nn.MaxPool2d: "MaxPool", nn.AvgPool2d: "AvgPool"}


def plan_of(name: str, size: int = 224) -> Plan:
    """Lattice inference of a torchvision architecture (its weights do not matter)."""
    return infer(trace(torchvision.models.get_model(name, weights=None), torch.zeros(1, 3, size, size)))


def downsampling_layers(name: str) -> list[str]:
    """One entry per origin group, in order: the kind of layer, and its stride where that is not 2."""
    plan = plan_of(name)
    layers: dict[object, str] = {}
    for node, digit in plan.digits.items():
        root, _ = digit.find()
        kind = _KINDS[type(plan.graph.get_submodule(str(node.target)))]
        layers.setdefault(root, kind if root.period == (2, 2) else f"{kind}(s={root.period[0]})")
    return list(layers.values())


def table_1() -> pd.DataFrame:
    """Downsampling layers of each architecture, from its graph; a stride of 4 takes the place of two rows, as in the paper."""
    columns = {}
    for family, name in TABLE_1.items():
        rows: list[str] = []
        for layer in downsampling_layers(name):
            rows += [layer, "-"] if "s=4" in layer else [layer]
        columns[family] = rows
    return pd.DataFrame(columns, index=pd.RangeIndex(1, 6, name="Layer"))


def survey(name: str, x: Tensor, shifts: int) -> dict[str, object]:
    """One architecture, random weights: its operations with a period, the origins they share, and its certificate."""
    model = calibrated(name).to(x.device)
    rows = [row for row in mass.explain(model, x).rows if row["period"]]
    certificate = mass.certify(mass.convert(model, x), x, shifts)
    origins = len({row["origin"] for row in rows})
    return {
        "network": name,
        "operations": len(rows),
        "origins": origins,
        "identical": bool(certificate.identical.all()),
    }


def relative_error(model: nn.Module, x: Tensor, shifts: list[tuple[int, int]]) -> list[float]:
    """Largest change of a logit under each shift, as a share of the largest logit."""
    with torch.no_grad():
        y = model(x)
        moved = [model(mass.shift(x, torch.tensor(t))) for t in shifts]
    return [((z - y).abs().max() / y.abs().max()).item() for z in moved]


SELECT, SHIFT = "select the origin o", "shift to o"


@dataclass(frozen=True)
class Operation:
    """A node of a block: its name in the graph, what it does, whose outputs it reads, and which origin it shifts to."""

    name: str
    does: str
    reads: tuple[str, ...]
    origin: str = ""


def block_of(module: torch.fx.GraphModule, prefix: str) -> list[Operation]:
    """The operations of one block of a traced or converted network, in graph order; strides and paddings named.

    Of what is read only operations of the block are kept, and '' for the map that enters it.
    """
    nodes = list(module.graph.nodes)
    ours = [k for k, node in enumerate(nodes) if str(node.target).startswith(f"{prefix}.")]
    inside = nodes[ours[0] : ours[-1] + 1]
    (enters, *_) = inside[0].all_input_nodes
    found = []
    for node in inside:
        read = tuple(
            "" if source is enters else source.name for source in node.all_input_nodes if source in (*inside, enters)
        )
        others = tuple(name for name in read if not name.startswith("mass_"))
        origin = next((name for name in read if name.startswith("mass_origin")), "")
        if node.name.startswith("mass_origin"):
            found.append(Operation(node.name, SELECT, others[:1]))  # the network's input settles ties
        elif not node.name.startswith("mass_"):
            if origin:  # fused: the operation itself starts there
                found.append(Operation(f"{node.name} shift", SHIFT, others, origin))
                others = (f"{node.name} shift",)
            found.append(Operation(node.name, _does(module, node, prefix), others))
    return found


def _does(module: torch.fx.GraphModule, node: torch.fx.Node, prefix: str) -> str:
    if node.op != "call_module":
        return "add" if node.name.startswith("add") else node.name
    layer, name = module.get_submodule(str(node.target)), str(node.target).removeprefix(f"{prefix}.")
    if not isinstance(layer, nn.Conv2d):
        return name
    stride = f", stride {layer.stride[0]}" if layer.stride[0] > 1 else ""
    border = "" if layer.padding == (0, 0) else ", cpad" if isinstance(layer, CircularConv2d) else ", zpad"
    return f"{name}: {layer.kernel_size[0]} x {layer.kernel_size[1]}{stride}{border}"
