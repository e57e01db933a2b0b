# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Weight transfer (paper, section 5.1.2, Table 3)
#
# The paper's main discovery: pretrained weights can be *kept*. Replace padding and downsampling, load the weights, do
# not train; consistency is 100%, at a small loss of accuracy. Its Table 3 reports this for torchvision's ImageNet
# networks.
#
# Here, the official weights of MobileNetV2, on true ImageNet validation images where they are at hand, in four
# versions: plain; circular padding alone; MASS; and APS.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd
from torch.utils.data import DataLoader

import mass
from companion.data.images import labelled_images, photographs
from companion.data.normalisation import normalize
from companion.figures.common import image_row
from companion.figures.style import use_style
from companion.measures.accuracy import top1_and_consistency
from companion.models.pretrained import imagenet_classes, mobilenet_v2
from companion.pipeline.run import Run
from companion.studies.weight_transfer.figures import accuracy_against, agreement_points, bars
from companion.studies.weight_transfer.flips import changing_labels
from companion.studies.weight_transfer.frames import InItsFrame, frames_found, in_frame
from companion.studies.weight_transfer.moves import agreement
from mass.baselines.aps import convert_to_aps

run = Run("06_weight_transfer", profile)
use_style()

# %% [markdown]
# ## The images
#
# `make repro MIRROR=…` finds 1,300 images of the ImageNet validation set. They are whole images squashed to 227 x
# 227, of 725 classes, and easier than the full set: good for comparing networks with each other, never to be quoted as
# ImageNet accuracy. Without them, the notebook falls back on two photographs, and says so.

# %%
images, dataset = labelled_images(run.settings.images, run.settings.size)
print(f"{len(images)} images of {dataset}")

# %% [markdown]
# ## Four versions of one network

# %%
x = normalize(images[0][0])[None]  # (1, 3, 224, 224)
plain = mobilenet_v2()
versions = {
    "plain": plain,
    "circular padding": mass.convert(plain, x, origin="zero"),
    "MASS": mass.convert(plain, x),
    "APS": convert_to_aps(plain, x),
}

# %% [markdown]
# Each is asked for its top-1 accuracy on the images as they are, for circular consistency (eq. 4: do two random shifts
# in {0, …, 31} give one label?), and for its stability: the share of labels that change under noise of two grey levels.

# %%
batches = DataLoader(images, run.settings.batch)
grey_level = 1 / 255 / 0.226  # in normalised units
noise = run.settings.noise * grey_level
measured = {"model": "mobilenet_v2", "dataset": dataset, "protocol": "mass", "size": run.settings.size}
rows = []
for method, model in versions.items():
    found = top1_and_consistency(
        model, batches, prepare=normalize, noise=noise, seed=run.settings.seed, description=method
    )
    rows.append({"method": method, **found})
    run.record(**measured, **rows[-1])

# %%
table = pd.DataFrame(rows).set_index("method")
table.rename(columns={"changed_by_noise": "changed by noise", "shifted_top1": "top-1, shifted", "top1": "top-1"}).round(
    2
)

# %% [markdown]
# * **Consistency** of MASS and APS is 100%: the labels of *all* images agree under *all* shifts tried, and for MASS by
#   construction.
# * **Accuracy** may fall before any fine-tuning. Circular padding alone costs part of it: the border no longer looks as
#   it did in training. With few images these differences are within their confidence intervals (the README shows them);
#   compare rows of the reduced profile, 1,300 images.
# * **APS** carries the same weights here, because each operation runs densely and only its output is sampled. The
#   paper's own APS rows replace the strided layers, so that its weights do not fit, and fall 'significantly'. APS pays
#   in time instead.

# %%
shown = pd.DataFrame(rows).rename(columns={"top1": "top-1 on unshifted images"})
fig = accuracy_against(
    shown, "top-1 on unshifted images", "consistency", f"MobileNetV2, official weights, {len(images)} images"
)
run.figure(fig, "accuracy_consistency")
fig

# %% [markdown]
# ## Consistency is not stability
#
# A label that never changes under shifts may still change under noise. Noise moves energies too, and where two phases
# are nearly equal, it picks another grid; so MASS changes a few more labels under noise than the plain network.

# %%
fig = bars(
    pd.DataFrame(rows), "changed_by_noise", "method", "Labels that change under noise of 2 grey levels", "% of images"
)
run.figure(fig, "noise")
fig

# %% [markdown]
# ## Does the rule matter?
#
# The selection rules choose different grids (notebook 02). With the same weights (differences of a few points are
# within noise unless the images are many):

# %%
rules = []
for rule in mass.RULES:
    model = mass.convert(plain, x, origin=rule, verify=False)
    found = top1_and_consistency(
        model, batches, prepare=normalize, noise=noise, seed=run.settings.seed, description=rule
    )
    rules.append({"rule": rule, **found})
    run.record(**measured, method="MASS", **rules[-1])
pd.DataFrame(rules).set_index("rule")[["top1", "consistency", "changed_by_noise"]].round(2)

# %% [markdown]
# ## Back to the frame it was taken in
#
# A photograph's left border seldom continues its right one. The rule `seam` looks for that break, in rows and in
# columns: every pixel that changes more than both of its neighbours votes. So an image is put back where it was cut,
# wherever it was moved to.

# %%
moved = photographs(run.settings.size).roll((90, 130), (2, 3))  # (2, 3, H, W)
fig = image_row([*moved, *in_frame(moved)], ["moved by 90, 130"] * 2 + ["moved to their seam"] * 2)
run.figure(fig, "seam")
fig

# %% [markdown]
# Of the images above, how many are found exactly? The paper's rule, asked for an origin in the whole image, gives one
# that moves along with it just as well, but means nothing. The rule's form was chosen on the 1,300 images of the
# profile reduced, so that other photographs may well be found less often.

# %%
frames = frames_found(batches, normalize, ["l2", "seam"], run.settings.seed)
for row in frames:
    run.record(method="MASS", stage="frame", dataset=dataset, size=run.settings.size, **row)
pd.DataFrame(frames).set_index("rule").round(2)

# %% [markdown]
# A network that expects positions (an embedding, windows, a flatten) then sees what it was trained on. MobileNetV2
# expects little: what it gains is its own sampling grid and, if the network is left untouched inside the frame, its
# zero padding.

# %%
framed = top1_and_consistency(
    InItsFrame(plain), batches, prepare=normalize, noise=noise, seed=run.settings.seed, description="framed"
)
run.record(**measured, method="plain", rule="seam", **framed)
shown = {"plain": rows[0], "circular padding": rows[1], "MASS, l2": rows[2]}
shown |= {"MASS, seam": rules[mass.RULES.index("seam")], "plain, in its seam": framed}
pd.DataFrame(shown).T[["top1", "shifted_top1", "consistency", "changed_by_noise"]].astype(float).round(2)

# %% [markdown]
# * Both are as consistent as every rule: 100%.
# * The network that is left untouched keeps its accuracy wherever the seam is found: on 1,300 images (profile reduced)
#   top-1 is 79.3%, beside 79.5% of the plain network and 77.1% to 77.2% of MASS. What MASS loses it loses to borders
#   that wrap.
# * It lives on an artefact: only a photograph that was shifted *circularly* has a seam inside. A scene that is periodic
#   by itself has none, and where noise, a crop or a plain background moves the seam, the whole network sees another
#   frame.

# %% [markdown]
# ## What is not promised: half pixels, windows, zeros
#
# All of the above holds for circular shifts by whole pixels. An image can move in other ways: by half a pixel, so that
# all values between pixels are interpolated (bilinear interpolation blurs; Fourier's does not), or as a window of 192 x
# 192 pixels that slides over the image, gains a column and loses one; or with zeros moving in. The same four
# networks, two views of each image:

# %%
moves = agreement(versions, batches, normalize, run.settings.moved, run.settings.seed)
for row in moves:
    run.record(model="mobilenet_v2", dataset=dataset, size=run.settings.size, **row)
fig = agreement_points(pd.DataFrame(moves), f"Two views of {moves[0]['n']} images, MobileNetV2")
run.figure(fig, "moves")
fig

# %% [markdown]
# Labels are coarse; the mean cosine between the logits of the two views says how far the answers moved:

# %%
pd.DataFrame(moves).pivot_table("cosine", "input", "method", sort=False).round(4)

# %% [markdown]
# * Only the first row is a promise, and only there something is exact.
# * Elsewhere MASS is an ordinary network: half a pixel is a new image with new energies, and a window's border decides
#   with its interior. An origin that flips makes the answer jump: of 300 images (profile reduced) the logits of MASS
#   and APS move a little more than the plain network's (half a pixel: cosine 0.95 beside 0.97), and the labels agree
#   about as often.
# * Compare rows of the reduced profile: with few images, differences of a few points are chance.

# %% [markdown]
# ## Images that flip
#
# The first images whose label changes in the plain network when they move (in words: the images themselves are not
# ours to publish). The converted network gives one label each.

# %%
moves = [(0, 0), (3, 1), (7, 12), (14, 9), (21, 30), (31, 5)]
flips = changing_labels(versions["plain"], versions["MASS"], images, moves, imagenet_classes(), limit=4)
pd.DataFrame(flips)

# %% [markdown]
# ## The paper's Table 3
#
# The body of Table 3 is lost in the text at hand. What the text still states: every converted model has 100% circular
# consistency; ConvNeXt-L loses 0.73 points of top-1; APS transfer is 'significantly' worse, and impossible for
# ConvNeXt.
#
# Notebook 13 holds these statements against the published records, one by one.

# %% [markdown]
# ## Summary
#
# * Weights transfer without training; consistency is 100% and bit-exact.
# * Circular padding costs accuracy before the origins do; fine-tuning (07, to come) is to recover it.
# * Invariance to shifts does not buy stability to noise, to half pixels or to windows; report them beside it.
# * `seam` finds the frame a photograph was cut in, for those that want the network to see it.
#
# Next: **07** fine-tuning (to come), which recovers the loss.
