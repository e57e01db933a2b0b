# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Start here: the same network, the same weights, and an answer that stays
#
# A convolutional network changes its answer when an image moves by one pixel, because its strided layers sample a
# grid that is fixed to the frame. MASS (*Model-Agnostic Shift-Equivariant Downsampling*) picks the sampling
# origin from the features themselves. Any CNN, pretrained ones included, becomes **exactly** equivariant to
# circular shifts, with no new parameter and no training.
#
# This notebook converts torchvision's MobileNetV2 with its official ImageNet weights, in one call, and shows the
# certificate. It is an independent reproduction of the paper; the other notebooks follow its sections.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd

import mass
from companion.data.images import photographs, temple_roofs
from companion.data.normalisation import normalize
from companion.figures.common import image_row
from companion.figures.style import use_style
from companion.models.pretrained import imagenet_classes, mobilenet_v2
from companion.pipeline.run import Run
from companion.studies.start_here import figures
from companion.studies.start_here.slider import draw_predictions, predictions, slider

run = Run("00_start_here", profile)
use_style()

# %% [markdown]
# ## The problem, in one figure
#
# Two photographs, moved along the diagonal by 0 to 32 pixels. What leaves on one side comes back on the other
# (a *circular* shift), so nothing is lost: a shift-invariant network would give a flat line.

# %%
images, classes = photographs(run.settings.size), imagenet_classes()
image_row(images, ["temple", "flower"])

# %%
plain = mobilenet_v2()
converted = mass.convert(plain, normalize(images))

# %% [markdown]
# That was the conversion. Now both networks say how sure they are of the plain network's first answer, at each shift:

# %%
rows = []
for name, image in zip(["temple", "flower"], images, strict=True):
    answer = int(predictions(plain, image).argmax())
    for shift in range(33):
        for method, model in (("plain", plain), ("MASS", converted)):
            p = predictions(model, image.roll((-shift, -shift), (1, 2)))[answer].item()
            rows.append({"panel": f"{name}: '{classes[answer]}'", "shift": shift, "method": method, "p": p})

# %%
fig = figures.lines_over_shifts(pd.DataFrame(rows), "p", "One pixel moves a plain network's answer", "probability")
run.figure(fig, "probability_over_shifts")
fig

# %% [markdown]
# The grey line jumps from pixel to pixel: another grid is sampled. Even a shift by 32, the total stride, does not bring
# it back, because zero padding marks the border and what lies there has changed. The blue line is flat, and not
# nearly flat: the logits are the same *bits*.

# %% [markdown]
# ## Convert your model in five lines
#
# ```python
# import mass
#
# model = mass.convert(model, images)      # a copy, same weights, exactly equivariant to circular shifts
# print(mass.certify(model, images))       # the proof, on your own images
# ```

# %%
certificate = mass.certify(converted, normalize(images), run.settings.shifts)
certificate

# %% [markdown]
# The same question put to the plain network:

# %%
mass.certify(plain, normalize(images), run.settings.shifts)

# %%
for method, model in (("plain", plain), ("MASS", converted)):
    c = mass.certify(model, normalize(images), run.settings.shifts)
    run.record(model="mobilenet_v2", method=method, dataset="photographs", n=len(images), shifts=len(c.shifts),
               identical=int(c.identical.sum()), max_difference=c.max_difference.max())  # fmt: skip

# %% [markdown]
# ## What changed?
#
# Five operations of MobileNetV2 have a stride, and each now starts at an origin that is read off its own input. Zero
# padding marks the border, so it became circular. Nothing else changed, and `state_dict` has the same keys.

# %%
mass.explain(plain, normalize(images))

# %% [markdown]
# ## Move it yourself
#
# A window of the temple's photograph: its roofs. Their label hangs on where the grid lies. In JupyterLab, drag the
# slider: the image moves, and each network's four largest logits are drawn anew. (Where nobody can drag it, the strip
# below shows the same.)

# %%
roofs = temple_roofs()
slider({"plain": plain, "MASS": converted}, roofs, classes)

# %%
moves = [(0, 0), (1, 1), (7, 7), (13, 13), (21, 21), (32, 32)]
captions = {}
for method, model in (("plain", plain), ("MASS", converted)):
    found = [predictions(model, roofs.roll((-i, -j), (1, 2))).max(0) for i, j in moves]
    captions[method] = [f"{classes[int(label)]} {p:.2f}" for p, label in found]
fig = figures.strip(roofs, captions, moves)
run.figure(fig, "strip")
fig

# %%
draw_predictions({"plain": plain, "MASS": converted}, roofs, classes, shift=7)

# %% [markdown]
# The plain network gives the same roofs several names, one of them a drilling platform's; the converted one gives one,
# which is no better a name, and stays. (The label of the two whole photographs does not change in the plain network
# either: how sure it is of it does, above.)

# %% [markdown]
# ## What it costs
#
# The converted network is not the plain one: borders wrap, and the grid it samples may differ from the one its weights
# were trained on, so its accuracy before fine-tuning is a little lower (notebook 06 measures it on real images).
# Shifts are circular, and the image's sides must be multiples of the total stride, 32 here: other sizes are refused
# with a sentence that says which would do.

# %%
try:
    mass.convert(plain, normalize(images)[..., :200])
except mass.NotEquivariantError as refusal:
    print(refusal)

# %% [markdown]
# ## Summary
#
# * A plain network's answer depends on where the object lies on the network's sampling grid.
# * `mass.convert(model, x)` gives a copy with the same weights whose logits are bit-identical under every circular
#   shift.
# * `mass.certify(model, images)` proves it on your images; `mass.explain(model, x)` says what was changed and why.
#
# Next: **01** why networks are not invariant · **02** the layer · **03** whole networks · **06** weight transfer on
# ImageNet images · **13** the paper beside this companion.
