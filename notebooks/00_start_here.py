# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Start here: exactly shift-equivariant CNNs, without retraining
#
# A convolutional network changes its answer when an image moves by one pixel, because its strided layers sample a grid
# that is fixed to the image's border. MASS (*Model-Agnostic Shift-Equivariant Downsampling*) selects the sampling
# origin from the features themselves. CNNs, pretrained ones included, become **exactly** equivariant to circular
# shifts, with no new parameter and no training.
#
# A photograph, torchvision's MobileNetV2 with its official ImageNet weights, and one call:
# <!-- badges --><!-- /badges -->

# %%
import torch
import torchvision
from sklearn.datasets import load_sample_image
from torchvision.transforms.v2.functional import normalize, resize

import mass

photo = torch.tensor(load_sample_image("china.jpg"))[:384, :384].permute(2, 0, 1)  # (3, 384, 384)
photo = resize(photo / 255, [224, 224]).clamp(0, 1)  # (3, 224, 224)
x = normalize(photo, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None]  # (1, 3, 224, 224)

plain = torchvision.models.mobilenet_v2().eval()
plain.load_state_dict(torch.load("../data/mobilenet_v2/mobilenet_v2-b0353104.pth"))
converted = mass.convert(plain, x)

# %% [markdown]
# Now the image moves along its diagonal, pixel by pixel. What leaves on one side comes back on the other (a *circular*
# shift), so nothing is lost. What does each network see, and how sure is it of the palace?

# %%
import pandas as pd

classes = torchvision.models.MobileNet_V2_Weights.DEFAULT.meta["categories"]
moved = torch.cat([x.roll((-s, -s), (2, 3)) for s in range(33)])  # (33, 3, 224, 224)
with torch.no_grad():
    p = {"plain": plain(moved).softmax(1), "MASS, same weights": converted(moved).softmax(1)}  # (33, 1000) each
seen = {name: [classes[label] for label in q.argmax(1)] for name, q in p.items()}
sure = pd.DataFrame({name: q[:, classes.index("palace")] for name, q in p.items()})

# %% [markdown]
# (Drawn by pandas, without a helper of ours: all that happens so far stands in these cells.)

# %%
title = "As the image moves, " + "; ".join(f"{name}: {' or '.join(sorted(set(seen[name])))}" for name in seen)
axes = {"xlabel": "circular shift, pixels", "ylabel": "probability of 'palace'", "xlim": (-3, 33), "ylim": (0, 1)}
ax = sure.plot(style="o-", ms=4, color=["grey", "C0"], figsize=(9, 3.6), title=title, **axes)
for name, labels in seen.items():
    for s in (s for s, label in enumerate(labels) if label != "palace"):
        ax.annotate(f"{labels[s]}!", (s, sure[name][s]), (-6, -5), textcoords="offset points", ha="right")
fig = ax.legend(loc="lower right").figure

# %% [markdown]
# One line jumps from pixel to pixel: each strided layer keeps every second position, and after a shift these are others
# (and the pipes of an organ are not far from a row of columns). Even a shift by 32 pixels, after which all layers
# sample the same positions of the image again, does not bring it back, because zero padding marks the border, and what
# lies there has changed. The other line is flat, and not nearly flat: the logits are *bit-identical*, and
# `mass.certify` says so of your own images.

# %%
print(mass.certify(converted, x, shifts=8))

# %% [markdown]
# Its words: a *residue* is a shift modulo the network's total stride, the product of its strides, here 32; of these
# there are 32 x 32, and notebook 03 tries them all. The *smallest margin* is how far the best origin was ahead of the
# second best, as a share of it, where that was least (notebook 02). The plain network does not pass:

# %%
print(mass.certify(plain, x, shifts=8))

# %% [markdown]
# ## Why it works
#
# Let $S_t$ shift by $t$, so that $(S_t\,x)[n] = x[n + t]$. A layer $f$ with stride $s$ commutes with shifts by
# multiples of $s$: $f(S_{sk}\,x) = S'_k f(x)$, where $S'_k$ shifts the output by $k$ of its own positions; and with no
# others. MASS moves its input to an origin $h(x)$ that moves along with the image, $h(S_t\,x) = h(x) - t + s k$ for
# some whole $k$, and then applies the layer as it is, $y = f(S_{h(x)}\,x)$. For the moved image
#
# $$ f(S_{h(S_t x)}\,S_t\,x) = f(S_{h(x) - t + sk + t}\,x) = f(S_{sk}\,S_{h(x)}\,x) = S'_k\,f(S_{h(x)}\,x) : $$
#
# the same map, moved by $k$. Behind global pooling nothing of $k$ is left. Five operations of MobileNetV2 have a stride
# (their *period*: the shifts that they commute with); zero padding, which marks the border, became circular; the final
# mean adds exactly, in any order. Nothing else changed:

# %%
print(mass.explain(plain, x))

# %% [markdown]
# From here on the companion's own helpers come in: they keep what was measured (`run.record`), and draw.

# %% tags=["parameters"]
profile = "quick"

# %%
from companion.data.images import photographs
from companion.data.normalisation import normalize as normalized
from companion.figures.style import use_style
from companion.pipeline.run import Run
from companion.studies.start_here import figures
from companion.studies.start_here.slider import draw_predictions, predictions, slider

run = Run("00_start_here", profile, device="cpu")
run.figure(fig, "probability_over_shifts")
use_style()

# %%
images = normalized(photographs(run.settings.size))  # (2, 3, 224, 224)
for method, model in (("plain", plain), ("MASS", converted)):
    c = mass.certify(model, images, run.settings.shifts)
    run.record(model="mobilenet_v2", method=method, dataset="photographs", n=len(images), shifts=len(c.shifts),
               identical=int(c.identical.sum()), max_difference=c.max_difference.max())  # fmt: skip

# %% [markdown]
# ## Move it yourself
#
# In JupyterLab, drag the slider: the image moves, and each network's four largest logits are drawn anew. (Where nobody
# can drag it, see the strip below, and under it the slider at 5 pixels.)

# %%
both = {"plain": plain, "MASS": converted}
slider(both, photo, classes)

# %%
moves = [(0, 0), (1, 1), (2, 2), (5, 5), (16, 16), (32, 32)]
captions = {}
for method, model in both.items():
    found = [predictions(model, photo.roll((-i, -j), (1, 2))).max(0) for i, j in moves]
    captions[method] = [f"{classes[int(label)]} {p:.2f}" for p, label in found]
strip = figures.strip(photo, captions, moves)
run.figure(strip, "strip")
strip

# %%
draw_predictions(both, photo, classes, shift=5)

# %% [markdown]
# We chose this window of the photograph because the plain network's label changes in it. How often that happens to
# other images is measured in notebook 06; under MASS it happens to none.
#
# ## What it costs
#
# The converted network is not the plain one: borders wrap, and the grid it samples may differ from the one its weights
# were trained on, so its accuracy before fine-tuning is a little lower (notebook 06 measures it on real images).
# Shifts are circular, and the image's sides must be multiples of the total stride, 32 here: other sizes are refused
# with a sentence that says which would do.

# %%
try:
    mass.convert(plain, x[..., :200])
except mass.NotEquivariantError as refusal:
    print(refusal)

# %% [markdown]
# ## Try this
#
# Does it need these weights, or any weights? Convert torchvision's ResNet-18 with random ones, and certify it.
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
# import torchvision
#
# import mass
#
# x = torch.rand(1, 3, 64, 64)
# resnet = torchvision.models.resnet18().eval()
# print(mass.certify(mass.convert(resnet, x), x, shifts=8))
# ```
#
# It says bit-identical again: the argument above speaks of strides and shifts, and of no weight.
#
# </details>

# %% [markdown]
# ## Summary
#
# * A plain network's answer depends on where the object lies on the network's sampling grid.
# * `mass.convert(model, x)` gives a copy with the same weights whose logits are bit-identical under every circular
#   shift.
# * `mass.certify(model, images)` checks it on your images, bit by bit; `mass.explain(model, x)` says what was changed
#   and why.
#
# Next: **01** why networks are not invariant · **02** the layer · **03** whole networks · **06** weight transfer on
# ImageNet images · **13** the paper beside this companion.
