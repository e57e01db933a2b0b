# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Going back up (paper, section 4.4, Figure 4)
#
# A segmentation network answers for every pixel. When the image moves, the answer should move along: $f(S x) = S
# f(x)$. An encoder that samples from an origin of its own has forgotten where the frame was; the decoder has to
# *restore* it, origin by origin, on its way up.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd

import mass
from companion.data.images import digit, photographs
from companion.data.normalisation import normalize
from companion.figures.common import heatmaps
from companion.figures.masks import disagreements
from companion.figures.style import use_style
from companion.measures.dense_outputs import disagreement, moves_along
from companion.measures.shifts import random_shifts
from companion.models.random_weights import segmenter
from companion.pipeline.run import Run
from companion.studies.going_back_up.encoder_decoders import by_decoder, encoder_decoders, periodic_image
from companion.studies.going_back_up.figures import figure_4

# %%
run = Run("04_going_back_up", profile)
use_style()
size = run.settings.height, run.settings.width
photo = photographs(size)[0]  # (3, H, W)
x = normalize(photo)[None]  # (1, 3, H, W)
shifts = random_shifts(size, run.settings.shifts, run.settings.seed)

# %% [markdown]
# ## Figure 4: down, and up again
#
# Max pooling keeps a maximum and forgets where it was; unpooling puts it back by a stored index. On the frame's grid
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
# Down: `select_origin`, `shift`. Up: the operation enlarges the map by 2, and `restore` moves it back by the origin
# that was stored.

# %%
o = mass.select_origin(x, 2)  # (1, 2)
small = mass.MassMaxPool2d(2)(x, o)  # (1, 3, H / 2, W / 2), on a lattice of stride 2 and origin o
large = mass.restore(small.repeat_interleave(2, 2).repeat_interleave(2, 3), o)  # (1, 3, H, W), on the pixels' own
o.tolist(), tuple(small.shape), tuple(large.shape)

# %% [markdown]
# `mass.convert` finds the places by itself: an operation that enlarges a map by r takes the last digits off its
# lattice.
#
# ## Every way up
#
# Small networks that halve the map and double it again, as they are, with circular borders alone, and converted: the
# percentage of random shifts after which the output is the moved output, *to the bit*.

# %%
rows = by_decoder(x, shifts)
for row in rows:
    run.record(period=2, dataset="photographs", n=len(shifts), **row)
table = pd.DataFrame(rows).pivot_table(index="layer", columns="method", values=["identical", "same labels"], sort=False)
fig = heatmaps({name: table[name] for name in ("identical", "same labels")}, "%")
run.figure(fig, "every_way_up")
fig

# %% [markdown]
# With circular borders alone, shifts by two even numbers do no harm, whatever is tried; all others do. Two things are
# changed on the way: borders wrap, and `align_corners=True` becomes half-pixel centres, since its sampling distance
# depends on the map's size. `explain` says so:

# %%
print(mass.explain(encoder_decoders()["bilinear, align_corners"], x))

# %% [markdown]
# ## Whole segmentation networks
#
# Architectures of segmentation-models-pytorch (random weights, BatchNorm calibrated on photographs). Their skip
# connections meet maps that came up with maps that never went down: both must lie on one lattice, or the converter
# would refuse.

# %%
networks, rows = {}, []
for architecture in run.settings.architectures:
    plain = segmenter(architecture, run.settings.encoder, size)
    networks[architecture] = {"plain": plain, "MASS": mass.convert(plain, x)}
    for method, model in networks[architecture].items():
        rows.append({"model": architecture, "method": method, **moves_along(model, x, shifts)})
        run.record(net=run.settings.encoder, dataset="photographs", n=len(shifts), **rows[-1])
pd.DataFrame(rows).pivot_table(index="model", columns="method", values=["identical", "same labels"], sort=False).round(
    2
)

# %% [markdown]
# The figure that convinces: a mask, the mask of the moved image moved back, and the share of shifts after which a
# pixel has another label: white is always, black is never. The weights are random, so the classes mean nothing; trained
# ones are notebook 08's.

# %%
pair = networks[run.settings.architectures[0]]
found = {method: disagreement(model, x, shifts) for method, model in pair.items()}
fig = disagreements(photo, found, shifts[0])
run.figure(fig, "disagreement")
fig

# %% [markdown]
# ## What no method can do
#
# An image that looks the same after a shift g must get an output that looks the same after g (Curie's principle). If g
# is no multiple of the stride, no choice of an origin has this symmetry: the converted network is equivariant *up to
# g*, and the certificate names it.

# %%
periodic = periodic_image(x, 24)[..., :48, :96]  # its symmetry: 24 pixels; the total stride: 32
periodic = periodic.repeat(1, 1, 2, 1)  # (1, 3, 96, 96)
linknet = segmenter("Linknet", run.settings.encoder, (96, 96))
print(mass.certify(mass.convert(linknet, periodic), periodic, [(3, 5), (8, 16), (24, 40)]))

# %% [markdown]
# `symmetrise=True` averages over the origins between which the symmetry leaves the choice open; then the output has it,
# to the bit.

# %%
symmetric = mass.convert(linknet, periodic, symmetrise=True)
print(mass.certify(symmetric, periodic, [(3, 5), (8, 16), (24, 40)]))

# %% [markdown]
# ## Summary
#
# * Going up means giving back the origins that were taken on the way down, in reverse order.
# * With that, every usual upsampling moves along to the bit, and whole decoders too.
# * A symmetry of the image itself that the stride does not divide is the one exception, and averaging mends it.
#
# Next: **05** CIFAR-10: networks trained with MASS.
