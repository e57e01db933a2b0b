# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Decoders: going back up (paper, section 4.4, Figure 4)
#
# A segmentation network answers for every pixel. When the image moves, the answer should move along, $f(S x) = S f(x)$:
# eq. 2 with $S' = S$. An encoder that samples from an origin of its own has forgotten where the image lay; the decoder
# has to *restore* it, origin by origin, on its way up.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd

import mass
from companion.data.images import digit, photographs
from companion.data.normalisation import normalize
from companion.figures.masks import disagreements
from companion.figures.style import use_style
from companion.measures.dense_outputs import disagreement, moves_along
from companion.measures.shifts import random_shifts
from companion.models.random_weights import segmenter
from companion.pipeline.run import Run
from companion.studies.going_back_up.encoder_decoders import by_decoder, encoder_decoders, periodic_image
from companion.studies.going_back_up.figures import every_way_up, figure_4

# %%
run = Run("04_going_back_up", profile)
use_style()
size = run.settings.height, run.settings.width
photo = photographs(size)[0]  # (3, H, W)
x = normalize(photo)[None].to(run.device)  # (1, 3, H, W)
shifts = random_shifts(size, run.settings.shifts, run.settings.seed)

# %% [markdown]
# ## Figure 4: down, and up again
#
# Max pooling keeps a maximum and forgets where it was; unpooling puts it back by a stored index. On a fixed grid
# another maximum survives when the map moves. MASS keeps the index *and* the origin: values and places move along.

# %%
fig = figure_4(digit())
run.figure(fig, "figure_4")
fig

# %% [markdown]
# APS's way up moves along as well, but puts every value on a corner of its cell instead of where it was found.
#
# ## The three verbs
#
# `select_origin`, `shift` and `restore`. On the way down the first two, as in notebook 02. On the way up an operation
# $u$ enlarges the map by 2, and `restore` moves it back by the origin that was stored. With $o = h(x)$,
#
# $$y = S_{-o}\,u(f(S_o\,x)).$$
#
# For the moved image the origin is $o - t + 2k$ and the coarse map $S'_k f(S_o x)$, as in notebook 02; enlarged, $S'_k$
# becomes $S_{2k}$, and the way back is $S_{-o + t - 2k}\,S_{2k} = S_t\,S_{-o}$: what comes out is $S_t\,y$. The output
# moves along.

# %%
o = mass.select_origin(x, 2)  # (1, 2)
small = mass.MassMaxPool2d(2)(x, o)  # (1, 3, H / 2, W / 2), on a lattice of stride 2 and origin o
large = mass.restore(small.repeat_interleave(2, 2).repeat_interleave(2, 3), o)  # (1, 3, H, W), on the pixels' own
o.tolist(), tuple(small.shape), tuple(large.shape)

# %% [markdown]
# `mass.convert` finds by itself where to restore. A map on the lattice $(S, O)$ of notebook 03 that is enlarged by $r$
# is moved back by $\lfloor O / (S / r) \rfloor$, the number that the last digits of $O$ make up, and lies on the
# lattice $(S / r,\ O \bmod S / r)$ then.
#
# ## Every kind of upsampling
#
# Small networks that halve the map and double it again, as they are, with circular borders alone, and converted. Left,
# the percentage of random shifts after which the output is *bit-identical* to the moved output; right, of pixels whose
# label (the class of largest score) is the same as before, over all these shifts.

# %%
rows = by_decoder(x, shifts)
for row in rows:
    run.record(period=2, dataset="photographs", n=len(shifts), **row)
fig = every_way_up(rows)
run.figure(fig, "every_way_up")
fig

# %% [markdown]
# With circular borders alone, shifts by an even number of rows and columns are exact, with every upsampling; all others
# change bits. (Of all shifts a quarter is even in both, of the few tried here it can be more.) Two things are changed
# on the way: borders wrap, and `align_corners=True` becomes half-pixel centres, since its sampling distance depends on
# the map's size. `explain` says so:

# %%
print(mass.explain(encoder_decoders()["bilinear, align_corners"].to(run.device), x))

# %% [markdown]
# ## Whole segmentation networks
#
# Architectures of segmentation-models-pytorch (random weights, BatchNorm calibrated on photographs). A skip connection
# joins a map that was brought back up with one of the same size from the way down: both must lie on one lattice, or the
# converter would refuse. The columns are those of the figure above.

# %%
networks, rows = {}, []
for architecture in run.settings.architectures:
    plain = segmenter(architecture, run.settings.encoder, size).to(run.device)
    networks[architecture] = {"plain": plain, "MASS": mass.convert(plain, x)}
    for method, model in networks[architecture].items():
        rows.append({"model": architecture, "method": method, **moves_along(model, x, shifts)})
        run.record(net=run.settings.encoder, dataset="photographs", n=len(shifts), **rows[-1])
pd.DataFrame(rows).pivot_table(index="model", columns="method", values=["identical", "same labels"], sort=False).round(
    2
)

# %% [markdown]
# A mask, the mask of the moved image moved back, and the share of shifts after which a pixel has another label: white
# is always, black is never. The weights are random, so the classes mean nothing; trained ones are notebook 08's.

# %%
pair = networks[run.settings.architectures[0]]
found = {method: disagreement(model, x, shifts) for method, model in pair.items()}
fig = disagreements(photo, found, shifts[0])
run.figure(fig, "disagreement")
fig

# %% [markdown]
# ## A limit of every method: images with a symmetry
#
# Curie's principle: the symmetries of the causes are found in their effects. If a shift $g$ leaves the image as it is,
# $S_g x = x$, then an equivariant $f$ gives
#
# $$S_g\,f(x) = f(S_g\,x) = f(x),$$
#
# an output with the same symmetry. Upsampled from a stride that does not divide $g$ it has not: windows of the stride
# do not repeat with $g$. So no choice of an origin is equivariant there; the converted network is equivariant *up to
# $g$*, and the certificate names it.

# %%
periodic = periodic_image(x, 24)[..., :48, :96]  # its symmetry: 24 pixels; the total stride: 32
periodic = periodic.repeat(1, 1, 2, 1)  # (1, 3, 96, 96)
linknet = segmenter("Linknet", run.settings.encoder, (96, 96)).to(run.device)
print(mass.certify(mass.convert(linknet, periodic), periodic, [(3, 5), (8, 16), (24, 40)]))

# %% [markdown]
# (A shift by 72 is one by 24 backwards: 72 = −24 mod 96.) `symmetrise=True` averages over
# the origins between which the symmetry leaves the choice open (frame averaging): each term is what another choice
# would have given, so that the sum has the symmetry, and it is bit-identical.

# %%
symmetric = mass.convert(linknet, periodic, symmetrise=True)
print(mass.certify(symmetric, periodic, [(3, 5), (8, 16), (24, 40)]))

# %% [markdown]
# ## Try this
#
# A constant image has every symmetry there is. What does the certificate say of a network that goes down by a stride of
# 2 and up again by a transposed convolution, and what if you convert it with `symmetrise=True`?
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
# from torch import nn
#
# import mass
#
# x = torch.ones(1, 3, 16, 16)
# model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 2, 2, 2)).eval()
# for symmetrise in (False, True):
#     print(mass.certify(mass.convert(model, x, symmetrise=symmetrise), x, [(0, 1), (1, 1), (2, 4)]))
# ```
#
# Without averaging the four pixels of a window differ, so the output of a constant image is not constant; with it, it
# is.
#
# </details>

# %% [markdown]
# ## Summary
#
# * Going up means giving back the origins that were taken on the way down, in reverse order.
# * With that, every usual upsampling moves along, bit-identical, and whole decoders too.
# * A symmetry of the image itself that the stride does not divide is the one exception, and averaging mends it.
#
# Next: **05** CIFAR-10: networks trained with MASS.
