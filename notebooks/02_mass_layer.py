# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The MASS layer (paper, sections 4.1 and 4.2, Figures 1 and 2)
#
# A strided operation $f$ looks at its input through a grid of windows. The windows lie on a fixed grid, so when the
# image moves by one pixel they cut it elsewhere. MASS leaves the operation alone and moves its input:
#
# 1. select an origin from the features, $o = h(x)$, such that $h(S_t x) = h(x) - t \pmod s$;
# 2. shift the map to it, $\hat x = S_o x$;
# 3. apply the operation, unchanged: $y = f(\hat x)$.
#
# Why that is enough takes two lines. The origin moves along with the image, $h(S_t\,x) = h(x) - t + s k$ for some whole
# $k$; and $f$ commutes with shifts by its stride, $f(S_{sk}\,x) = S'_k f(x)$. So for the moved image
#
# $$f(S_{h(S_t x)}\,S_t\,x) = f(S_{h(x) - t + sk}\,S_t\,x) = f(S_{sk}\,S_{h(x)}\,x) = S'_k\,f(S_{h(x)}\,x):$$
#
# the output is the same map, moved by $k$ of its own positions; and what is averaged over all positions,
# $f(S_{h(x)}\,x)$ behind global pooling, is invariant.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd
import torch

import mass
from companion.data.generated.hard_images import awkward_images
from companion.data.images import digit
from companion.figures.common import image_row
from companion.figures.style import use_style
from companion.pipeline.run import Run
from companion.studies.mass_layer.figures import agreeing_rules, changed_logits, energy_table, figure_1, figure_2
from companion.studies.mass_layer.measurements import grids_by_method, phase_rounding, rule_agreement

run = Run("02_mass_layer", profile)
use_style()

# %% [markdown]
# ## The origin is read off the features
#
# Take a digit of 8 x 8 pixels and windows of 2 x 2. There are four places to start, that is, four *phases*: each holds
# a quarter of the pixels. The paper starts at the one of largest $\ell_2$ norm: of largest *energy*, the sum of
# squares. Below, the energies of the phases (0, 0), (0, 1), (1, 0) and (1, 1), and the origin that is selected. When
# the digit moves, the energies change places and the origin follows.

# %%
x = digit()  # (1, 1, 8, 8)
energies = energy_table(x)  # (2, 2)
energies, mass.select_origin(x, 2)

# %%
rows = []
for t in [(0, 0), (0, 1), (1, 0), (3, 2)]:
    moved = mass.shift(x, torch.tensor(t))  # moved[n] = x[n + t]
    expected = (mass.select_origin(x, 2) - torch.tensor(t)) % 2
    rows.append({"t": t, "h(S_t x)": mass.select_origin(moved, 2).tolist()[0], "h(x) - t mod 2": expected.tolist()[0]})
pd.DataFrame(rows)

# %% [markdown]
# ## Figure 1: select, shift, apply
#
# The upper row is the digit, the lower row the digit moved by one pixel. Plain max pooling gives two different maps. At
# its own origin the digit meets the same windows both times, so MASS gives one map, moved by a whole pixel at most.

# %%
fig = figure_1(x)
run.figure(fig, "figure_1")
fig

# %% [markdown]
# ## Figure 2: max pooling, polyphase sampling, MASS
#
# Polyphase sampling (APS, adaptive polyphase sampling) also selects a phase by its norm. Put in the pooling's place, as
# in the paper's figure, it drops three of four values, whatever they are; APS as published pools densely first, and
# then keeps the maxima of windows as well. MASS keeps the pooling it is given: the maximum of every window survives, in
# every channel.

# %%
fig = figure_2(digit(channels=2))
run.figure(fig, "figure_2")
fig

# %% [markdown]
# ## In code
#
# `MassConv2d`, `MassMaxPool2d` and `MassAvgPool2d` take the arguments of their `torch.nn` namesakes; `MassPool2d` wraps
# any other pooling. An image is moved by (5, 7): by which shifts of the output is that explained, bit-identically?

# %%
layer = mass.MassConv2d(3, 8, kernel_size=3, stride=2, padding=1)
image = awkward_images(64, 96)["photograph"]  # (1, 3, 64, 96)
y, z = layer(image), layer(mass.shift(image, torch.tensor((5, 7))))
[(i, j) for i in range(32) for j in range(48) if torch.equal(y.roll((-i, -j), (2, 3)), z)]

# %% [markdown]
# By exactly one: half of (5, 7), each half rounded up or down, as the two origins have it. Selecting needs no gradient;
# shifting has the opposite shift as its gradient, so the layer trains as the plain one does.

# %% [markdown]
# ## When phases tie
#
# Norms are sums, and sums cannot tell everything apart. Two equal objects at odd distance give two phases the *same*
# values; a mirrored image gives two phases the same values in another order, and float sums then differ by rounding
# alone. What remains is to choose by index, which does not move with the image. That is how published methods break.

# %%
names = ["two equal objects", "mirrored about an edge", "turned by 180 degrees", "another photograph"]
images = awkward_images(run.settings.size, run.settings.size)
image_row([images[n][0] for n in names], names)

# %% [markdown]
# Below, the *margin*: how far the best phase is ahead of the second best, as a share of it, in float64; and what is
# left of it when float32 or bfloat16 add up the squares. 0 is a tie, and so is 1e-16, which is rounding of the same
# values in another order. The step of float32 at 1 is 1.2e-7, of bfloat16 7.8e-3: so of the four images above three
# tie, or nearly, whatever the precision, and the photograph in bfloat16.

# %%
pd.DataFrame(phase_rounding(images)).set_index("image").map("{:.1e}".format)

# %% [markdown]
# MASS compares integers, $E_k = \sum_n q(x)[s n + k]^2$, where $q$ rounds the map's values to 15 bits (what is cut off,
# to the next 15 bits, decides between equal sums). Integers add up the same in any order, so that energies are exactly
# those of the moved image, in other places. A tie is broken by image content: what the map looks like from each
# position, compared by a hash of the whole map as read from there; the largest wins. (On a CPU, positions whose hashes
# coincide are compared themselves; on a GPU the hash has 64 bits and the last word.) No rounding, no index.
#
# What ties even then is a symmetry of the input: two positions $a$ and $b$ from which all looks alike, $S_a x = S_b x$.
# Then $f(S_a x) = f(S_b x)$ holds for whatever follows, so that either choice gives the same result. (For a dense
# output, which must be put back where it belongs, notebook 04 says what remains.)
#
# Below, a ResNet-18 (random weights, BatchNorm calibrated on photographs), plain and made equivariant in three ways, on
# these thirteen images: the share of circular shifts under which a logit moves by more than 0.1% (5% in bfloat16) of
# the largest, which rounding does not do. "Layer by layer" replaces each strided layer on its own and compares
# floating-point norms: the straightforward reading of the paper.

# %%
rows = []
for dtype in (torch.float32, torch.bfloat16):
    rows += grids_by_method("resnet18", images, run.settings.shifts, dtype, run.device)
found = pd.DataFrame(rows)
fig = changed_logits(found)
run.figure(fig, "another_grid")
fig

# %%
for row in rows:
    run.record(
        model="resnet18", dataset="awkward", size=run.settings.size, **{k.replace(" ", "_"): v for k, v in row.items()}
    )
shares = found.groupby(["dtype", "method"], sort=False)[["any bit", "another grid"]].mean().round(1)
shares.rename(columns={"any bit": "any bit, % of shifts", "another grid": "more than rounding, % of shifts"})

# %% [markdown]
# The plain network changes on every image that is not constant: its grid is fixed, and its borders show. The other two
# compare floats, and select another phase where these tie: layer by layer norms of the map in its own precision, so
# that in bfloat16 photographs tie as well; APS norms of dense outputs, added up in float32, of which those of two equal
# objects tie. In the table, "any bit" counts rounding as well: MASS has none, since reductions add exactly and kernels
# treat positions alike.

# %% [markdown]
# ## Does the rule matter?
#
# "The selection rule can be a crucial factor in scenarios involving noise or boundary effects", the paper says, and
# compares none. The rules that come by name select the phase of largest sum of squares (l2), sum of magnitudes (l1),
# value (linf) or variance, the one in which the blurred map has its largest value (peak), or the row and column where
# the image, wrapped, jumps most (seam); 'random' is the control, an arbitrary choice by a hash of the content. All are
# covariant, hence all exact; they differ in *which* phase they select. How often two rules agree on the first origin of
# a network, over 400 crops of photographs (chance is 25%):

# %%
agreement = rule_agreement(mass.RULES, size=run.settings.size, seed=run.settings.seed)
fig = agreeing_rules(agreement)
run.figure(fig, "rule_agreement")
fig

# %% [markdown]
# So but for l1, which is nearly l2, two rules select different origins of most crops. What that does to accuracy is
# measured in notebooks 05 and 06.

# %% [markdown]
# ## Related methods
#
# * **APS** (Chaman & Dokmanić, 2021; eq. 3 of the paper, $f_{PS}(x)[n, m] = x[s n + k^*_1,\ s m + k^*_2]$) samples the
#   output where MASS moves the input: the operation runs densely, at stride 1, and one phase is kept. LPS learns which.
#   Both pay for the dense operation.
# * **BlurPool** (Zhang, 2019) filters before sampling. It makes the answer *smoother* in the shift, not invariant to
#   it.
# * **Group equivariant subsampling** (Xu et al., 2021) is the same idea for any group: an equivariant map to the
#   cosets, sampling from there, and the coset handed on to the decoder. MASS is its case of translations, applied to
#   whole operations.
# * **Polyphase anchoring** (Ding et al., 2023, arXiv 2306.07470; 'PolyViT') is the same rule and the same construction
#   for vision transformers: the input of a strided operation is shifted to its phase of largest norm, which then runs
#   unchanged. It is for patch embeddings and subsampled attention of square maps, breaks ties by index,
#   and trains its networks anew. **Rojas-Gomez et al.** (2023, arXiv 2305.16316) do alike for Swin and others.
# * **Weighted frames** (Dym, Lawrence & Siegel, 2024, arXiv 2402.16077) average over choices instead of making one,
#   which is continuous as well (notebook 15).
# * **Canonicalisation** moves the input once, in front of the network. It needs one origin for the whole grid at once,
#   and the network's own borders still mark the edge of the array. MASS moves each map by less than a stride, where it
#   is needed.

# %% [markdown]
# ## Try this
#
# Write the straightforward rule: the first phase of largest energy. Is it covariant on an image with two equal objects?
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
#
# import mass
#
# x = torch.zeros(1, 1, 8, 8)
# x[..., 0, 0] = x[..., 3, 3] = 1.0  # equal, and at odd distance: two phases tie
# moved = x.roll((-1, -1), (2, 3))
#
#
# def first(x):
#     energies = torch.stack([x[..., i::2, j::2].square().sum() for i in (0, 1) for j in (0, 1)])
#     return divmod(int(energies.argmax()), 2)
#
#
# print("first:", first(x), first(moved))
# print("by content:", mass.select_origin(x, 2).tolist(), mass.select_origin(moved, 2).tolist())
# ```
#
# The first phase is (0, 0) both times, where a shift by (1, 1) must take it to (1, 1). By content it moves along.
#
# </details>

# %% [markdown]
# ## Summary
#
# * MASS is three steps around an untouched operation; the origin follows the image, so the windows do.
# * Exactness is decided at ties. Integer energies and ties broken by image content keep it; float sums and first
#   indices lose it.
# * All rules are exact. Which one is best for accuracy is an experiment, not a theorem.
#
# Next: **03** whole networks, where parallel branches must agree.
