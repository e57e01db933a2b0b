# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Whole networks: lattices (paper, section 4.3, Figure 3, Table 1)
#
# Replacing every strided layer by its MASS counterpart makes most networks shift-invariant. Not all: where branches run
# in parallel, each selects its own origin, and their sum mixes two grids. The paper does not say so, and its ResNet-18
# does not show it. This notebook does, and derives the rule that repairs it: **what meets must live on one lattice**.

# %% tags=["parameters"]
profile = "quick"

# %%
from collections import OrderedDict

import pandas as pd
import torch
import torchvision
from torch.utils.data import DataLoader

import mass

# %%
from companion.data.images import labelled_images, photographs
from companion.data.normalisation import normalize
from companion.figures.style import use_style
from companion.measures.margins import margins, summary
from companion.measures.origins import output_and_origins
from companion.measures.shifts import random_shifts
from companion.models.layer_by_layer import layer_by_layer
from companion.models.pretrained import mobilenet_v2
from companion.models.random_weights import calibrated
from companion.pipeline.run import Run
from companion.studies.lattices.architectures import block_of, relative_error, survey, table_1
from companion.studies.lattices.examples import AddsRamp
from companion.studies.lattices.figures import figure_3, lattice_points, margin_histograms
from mass.fx.tracing.trace import trace

# %%
run = Run("03_lattices", profile)
use_style()

# %% [markdown]
# ## Table 1, generated
#
# Which layers of an architecture have a stride? `mass` traces the network (`torch.fx`) and asks every operation for its
# period. The table is the paper's, row for row, and now it is computed:

# %%
table_1()

# %% [markdown]
# ## Where samples lie
#
# A downsampling of period $P_1$ at the origin $o_1$ makes a map whose position $n$ lies at $o_1 + P_1 n$. The next one,
# of period $P_2$ at $o_2$, has its position $n$ at $o_2 + P_2 n$ of that map, which is $o_1 + P_1 (o_2 + P_2 n)$ of the
# input; and so on. So the map lives on a *lattice*: its position $n$ lies at input position $O + S n$, with
#
# $$S = P_1 P_2 P_3 \cdots \qquad O = o_1 + P_1 o_2 + P_1 P_2 o_3 + \dots$$
#
# like a number with digits $o_k$ in bases $P_k$. Two maps $x$ and $y$ may be added if position $n$ of both lies in one
# place of the input, $O_x + S_x n = O_y + S_y n$ for all $n$: if $S_x = S_y$ and $O_x = O_y$. Branches that leave one
# lattice with the same periods and meet again therefore need the same digits. Below, the sampling points of three
# stages of a converted ResNet-18 (random weights, BatchNorm calibrated on photographs), on an image and on the image
# moved by (9, 14). The points move along with the flower: the same petals are sampled.

# %%
model, size = calibrated("resnet18"), run.settings.size
converted = mass.convert(model, torch.zeros(1, 3, size, size))
image = photographs(size)[1]
shown = {"image": image, "moved": mass.shift(image[None], torch.tensor((9, 14)))[0]}

# %%
origins = {name: [o[0] for o in output_and_origins(converted, x[None])[1]] for name, x in shown.items()}
fig = lattice_points(shown, origins, stages=(3, 4, 5))
run.figure(fig, "lattices")
fig

# %% [markdown]
# ## What breaks when branches disagree
#
# A block of ResNet-50 that halves its map adds two strided branches: a 3 x 3 convolution, behind a 1 x 1 convolution
# that reduces channels, and a shortcut from the map itself. They see different maps, so on their own they choose
# different origins. ResNet-18's branches see the same map and hide the mistake.

# %% tags=["measures"]
rows = []
shifts, images = random_shifts((size, size), run.settings.shifts), (photographs(size) * 4 - 2).to(run.device)
for name in ("resnet18", "resnet50"):
    model = calibrated(name).to(run.device)
    for method, network in (("layer by layer", layer_by_layer(model)), ("MASS", mass.convert(model, images))):
        worst = max(relative_error(network, images, shifts))
        rows.append({"network": name, "method": method, "worst": worst})
        run.record(
            model=name, method=method, dataset="photographs", size=size, shifts=len(shifts), relative_error=worst
        )

# %%
pd.DataFrame(rows).pivot_table(index="network", columns="method", values="worst", sort=False).map("{:.1e}".format)

# %% [markdown]
# The table holds the largest change of a logit under random circular shifts, as a share of the largest logit. 1e-7 is
# rounding; 1e-1 is a different sampling phase. Sharing the origin repairs it, and exact reductions leave no rounding
# either.

# %% [markdown]
# ## Lattice inference
#
# Which operations have to share is inferred: give each node of the graph the lattice of its inputs, add a digit $o_k$
# where an operation has a period, and unify what is added, multiplied or concatenated (union-find). `mass.explain`
# prints the result; operations with the same number in the column `origin` share one, as `layer2.0.conv2` and
# `layer2.0.downsample.0` do.

# %%
mass.explain(torchvision.models.resnet50(), torch.zeros(1, 3, 224, 224))

# %% [markdown]
# ## Figure 3: the same block, before and after
#
# Read off the two graphs: the first downsampling block of ResNet-50. The origin is selected once, from the map that the
# 3 x 3 convolution reads, and both branches shift to it (dashed; in the graph each shift is fused into the padding or
# sampling behind it). Zero padding (zpad) became circular (cpad). Parameters keep their names.

# %%
x = torch.zeros(1, 3, 64, 64)
plain = trace(torchvision.models.resnet50(), x)
same = mass.convert(torchvision.models.resnet50(), x)
fig = figure_3(block_of(plain, "layer2.0"), block_of(same, "layer2.0"))
run.figure(fig, "figure_3")
fig

# %% [markdown]
# ## Refusals
#
# What cannot be made equivariant is refused, with the operation, the reason and the way out. With borders that
# wrap, AlexNet's last map has 7 x 7 positions at 224 pixels, and pooling them into 6 x 6 cells takes windows of unequal
# size, which no shift of the input can respect. (At 192 pixels the map has 6 x 6, and it converts.)

# %%
mass.explain(torchvision.models.alexnet(), torch.zeros(1, 3, 224, 224))

# %% [markdown]
# ## Verification is part of the conversion
#
# `convert(…, verify=True)`, the default, compares the trace with the model and the new graph with the trace, and checks
# in float64 how every node moves: on the example, noise, a constant image, one bright pixel and a sparse image. It
# names the first node that disagrees. A rule that is wrong does not get through, nor does a false promise:

# %%
mass.mark_leaf(AddsRamp)  # "this operation commutes with shifts": it does not
network = torch.nn.Sequential(
    OrderedDict(conv=torch.nn.Conv2d(3, 8, 3, 2, 1), ramp=AddsRamp(), pool=torch.nn.AdaptiveAvgPool2d(1))
)
try:
    mass.convert(network, torch.zeros(1, 3, 64, 64))
except mass.NotEquivariantError as refusal:
    print(refusal)

# %% [markdown]
# ## Architectures
#
# Small members of torchvision's convolutional families, random weights calibrated on photographs: operations
# with a period, origins they share, and whether logits are bit-identical under random circular shifts.

# %% tags=["measures"]
names = [
    "resnet18",
    "resnet50",
    "densenet121",
    "mobilenet_v3_small",
    "convnext_tiny",
    "efficientnet_b0",
    "regnet_y_400mf",
]
rows = [survey(name, (photographs(64) * 4 - 2).to(run.device), shifts=8) for name in names]
pd.DataFrame(rows).set_index("network")

# %% [markdown]
# ## Certificates: all residues
#
# What a converted network chooses depends on a shift only through its residue modulo the total stride: 32 x 32 = 1,024
# cases. `mass.certify` without a number tries them all, and only then says CERTIFIED. To each it adds a random multiple
# of 32: such shifts are one case by arithmetic, but a kernel could treat them differently, and of these it is a sample.

# %% tags=["measures"]
settings = run.settings
few, dataset = labelled_images(settings.certified, settings.certified_size)
x = normalize(torch.stack([image for image, _ in few])).to(run.device)  # (B, 3, H, W)
network = mass.convert(mobilenet_v2().to(run.device), x)
certificate = mass.certify(network, x)
run.record(model="mobilenet_v2", method="MASS", stage="certificate", dataset=dataset, size=settings.certified_size,
           n=len(x), shifts=len(certificate.shifts), identical=int(certificate.identical.sum()))  # fmt: skip
certificate

# %% [markdown]
# ## How near to a tie?
#
# The certificate names a smallest margin: by how much the best phase was ahead of the second best, as a share of it.
# Below, the margins of all images at every origin of two networks, an outline an origin. Dotted lines: one step of a
# precision's rounding. For images left of a line, sums in that precision may select by rounding.

# %% tags=["measures"]
images, dataset = labelled_images(settings.images, settings.size)
batches, example = DataLoader(images, settings.batch), normalize(photographs(settings.size))
nets = {"mobilenet_v2, official weights": mobilenet_v2(), "convnext_tiny, random weights": calibrated("convnext_tiny")}
converted = {name: mass.convert(net, example, verify=False).to(run.device) for name, net in nets.items()}
found = {name: margins(net, batches, normalize) for name, net in converted.items()}

# %% tags=["measures"]
fig = margin_histograms(found)
run.figure(fig, "margins")
fig

# %% tags=["measures"]
table = pd.concat({name.partition(",")[0]: summary(rows) for name, rows in found.items()}, names=["model", "origin"])
for row in table.reset_index().to_dict("records"):
    run.record(method="MASS", dataset=dataset, size=settings.size, stage=row.pop("origin"), **row)
table

# %% [markdown]
# * On real images small margins are usual (column `median`). Of MobileNetV2's a good part lies within bfloat16's
#   rounding, and none within one step of float32 (`smallest`, in `reduced`); but the nearest lie within what a sum of
#   many terms can be off by. Sums in float32 choose wrongly on images with symmetries (notebook 02), and may wherever
#   all phases are nearly equal, as below. MASS sums energies as integers.
# * ConvNeXt samples behind a LayerNorm, which gives every position the same energy as long as its weights are all one,
#   as they are here: nearly *every* image is a near-tie there, and the rule's choice is arbitrary, though it moves
#   along. With trained weights it was not measured.
# * Exactness does not hang on margins: `tests/test_attacks.py` drives them below 1e-6 by gradients, and nothing moves.

# %% [markdown]
# ## Try this
#
# One branch has a stride of 4, the other two strides of 2, and they are added. How many origins are selected, and with
# which period? Guess, then ask `mass.explain`.
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
# from torch import nn
#
# import mass
#
#
# class Two(nn.Module):
#     def __init__(self):
#         super().__init__()
#         self.four = nn.Conv2d(3, 4, 4, 4)
#         self.two = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 2, 2))
#
#     def forward(self, x):
#         return self.four(x) + self.two(x)
#
#
# print(mass.explain(Two().eval(), torch.rand(1, 3, 16, 16)))
# ```
#
# One, with period 4, read digit by digit by the other branch: $o \bmod 2$ at its first stride, $\lfloor o / 2 \rfloor$
# at its second.
#
# </details>

# %% [markdown]
# ## Summary
#
# * A map behind aligned downsamplings lives on a lattice $(S, O)$; maps that meet must share it.
# * Parallel branches from one lattice share one origin. Layer-by-layer replacement breaks ResNet-50 and hides
#   in ResNet-18.
# * The sharing is inferred from the graph, and the result is verified at every node.
# * Certificates try all residues; images come near to ties, and integers do not mind.
#
# Next: **04** going back up · **06** weight transfer on ImageNet images.
