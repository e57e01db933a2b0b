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
from IPython.display import Markdown
from torch.utils.data import DataLoader

import mass
from companion.data.images import labelled_images, photographs
from companion.data.normalisation import normalize
from companion.figures.style import use_style
from companion.models.pretrained import imagenet_classes, mobilenet_v2
from companion.pipeline.run import Run

run = Run("06_weight_transfer", profile)
settings = run.settings
use_style()

# %% [markdown]
# What it measures by, and shows:

# %%
from companion.figures.common import image_row
from companion.measures.accuracy import right_labels, top1_and_consistency
from companion.measures.moves import agreement, compare_views, two_views
from companion.measures.noise import labels_under_noise
from companion.measures.paired_images import compare
from companion.models.canonical import InItsFrame, in_frame
from companion.studies.weight_transfer import tables
from companion.studies.weight_transfer.figures import accuracy_against, agreement_points, shares
from companion.studies.weight_transfer.flips import changing_labels
from companion.studies.weight_transfer.frames import frames_found
from mass.baselines.aps import convert_to_aps

# %% [markdown]
# ## The images
#
# `make repro MIRROR=…` finds 1,300 images of the ImageNet validation set. They are whole images squashed to 227 x
# 227, of 725 classes, and easier than the full set: good for comparing networks with each other, never to be quoted
# as ImageNet accuracy. Without them two photographs stand in, to show that everything runs; two images measure
# nothing. No small true set is bundled: ImageNet's terms do not let its images be passed on, and a dozen freely
# licensed photographs, labelled by us with ImageNet's classes, would measure our choice of them (of 12 images the 95%
# interval of 75% is 47 to 91). So the tables of the 1,300 images, as published, stand at the end of each section.

# %%
images, dataset = labelled_images(settings.images, settings.size)
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
# Each is asked for its top-1 accuracy on the images as they are, and for circular consistency (eq. 4):
#
# $$\frac{1}{N} \sum_i \mathbf{1}\bigl[y(S_{h_1, w_1}(x_i)) = y(S_{h_2, w_2}(x_i))\bigr],
# \qquad h_j, w_j \in \{0, …, 31\}$$
#
# Weights do not enter into why MASS has 100% here: with $f(S_{h(S_t x)}\,S_t\,x) = S'_k f(S_{h(x)}\,x)$ at every
# strided $f$, with circular borders in between and global pooling at the end, $y(S_t\,x) = y(x)$ for whatever weights
# were loaded. All get the same shifts.

# %% tags=["measures"]
batches, seed = DataLoader(images, settings.batch), settings.seed
measured = {"model": "mobilenet_v2", "dataset": dataset, "protocol": "mass", "size": settings.size}
rows = []
for method, model in versions.items():
    found = top1_and_consistency(model, batches, prepare=normalize, seed=seed, description=method)
    rows.append({"method": method, **found})
    run.record(**measured, **rows[-1])

# %%
table = pd.DataFrame(rows).set_index("method")
names = {"shifted_top1": "top-1, shifted", "top1": "top-1"}
table.rename(columns=names).round(2)

# %%
shown = pd.DataFrame(rows).rename(columns={"top1": "top-1 on unshifted images"})
fig = accuracy_against(
    shown, "top-1 on unshifted images", "consistency", f"MobileNetV2, official weights, {len(images)} images"
)
run.figure(fig, "accuracy_consistency")
fig

# %% [markdown]
# * **Consistency** of MASS and APS is 100%: the labels of *all* images agree under *all* shifts tried, and for MASS by
#   construction.
# * **APS** carries the same weights, because each operation runs densely and only its output is sampled. So do its
#   authors' ImageNet networks, whose parameters are those of the plain ones. The paper has its APS rows fall
#   'significantly', beside MASS's. Ours fall as MASS's do, and the two are not told apart (below). The paper describes
#   an APS that replaces the strided convolution, which would explain a further fall; its code is not published.

# %% [markdown]
# ## What conversion costs, on the same images
#
# The four were asked about the same images, so what counts are the images that one labels right and another does not:
# McNemar's test, exact (if $b$ images are right in one network only and $c$ in the other only, then under the
# hypothesis of no difference $b$ is binomial, of $b + c$ draws at one half), with Holm's correction for the five
# comparisons of a view. Two confidence intervals that overlap are no such test. And whole images squashed to squares
# are kind to borders: the object is seldom cut. So the same images are asked about again, scaled by 256 / 224 and
# cropped, as for ImageNet, as far as their size allows.

# %% tags=["measures"]
pairs = [
    ("circular padding", "plain"),
    ("MASS", "plain"),
    ("APS", "plain"),
    ("MASS", "circular padding"),
    ("MASS", "APS"),
]
cropped = DataLoader(labelled_images(settings.images, settings.size, cropped=True)[0], settings.batch)
right = {
    view: {method: right_labels(model, seen, normalize) for method, model in versions.items()}
    for view, seen in (("squashed", batches), ("cropped", cropped))
}

# %% tags=["measures"]
for view, found in right.items():
    for method, which in found.items():
        top1 = 100 * which.double().mean().item()
        run.record(**measured, method=method, stage="view", input=view, n=len(which), top1=top1)

# %% tags=["measures"]
lost = {view: compare(found, pairs) for view, found in right.items()}
for view, found in lost.items():
    for row in found:
        run.record(**measured, stage="top-1, paired", input=view, **row)
pd.concat({view: pd.DataFrame(found) for view, found in lost.items()}).round(4)

# %% [markdown]
# As published, on the most images:

# %%
Markdown(tables.loss(run.root))

# %% [markdown]
# * The loss is told from chance in both views, and the larger number is that of cropped images, whose borders cut
#   through what is shown; whether it is larger there was not tested. Circular padding alone loses about as
#   much: between the fixed grid and MASS's, and between MASS and APS, no difference is told from chance.
# * It is not a constant of the method: on the same images EfficientNet-Lite0 loses several times as much
#   (`docs/results.md`, Table 3's rows), and so does circular padding alone. What fine-tuning recovers is notebook
#   07's; on CIFAR-10, three epochs recover most of it and not all (notebook 05).

# %% [markdown]
# ## Consistency is not stability
#
# A label that never changes under shifts may still change under noise. Two things may be to blame: borders that wrap
# (the network sees what it was not trained on), and origins, which noise may tip where two phases are nearly equal.
# To tell them apart, the noisy images are asked about a second time with their origins *frozen*, at those of the
# clean image. The noise is Gaussian, of two grey levels, added to the pixels and clipped to their range, as in
# notebook 05; all get the same.

# %% tags=["measures"]
noisy = {
    method: labels_under_noise(model, batches, normalize, settings.noise, white=1, seed=seed, freeze=True)
    for method, model in versions.items()
}

# %% tags=["measures"]
changed = {"plain": noisy["plain"].changed, "circular padding": noisy["circular padding"].changed}
for method in ("MASS", "APS"):
    changed |= {f"{method}, origins frozen": noisy[method].changed_when_frozen, method: noisy[method].changed}
fig = shares(changed, f"Labels that change under noise of {settings.noise:g} grey levels")
run.figure(fig, "noise")
fig

# %% tags=["measures"]
steps = [("circular padding", "plain"), ("MASS, origins frozen", "circular padding"), ("MASS", "MASS, origins frozen")]
steps += [("MASS", "plain"), ("MASS", "circular padding"), ("APS", "circular padding"), ("MASS", "APS")]
caused = compare(changed, steps)
told = f"noise {settings.noise:g}"
for row in caused:
    run.record(**measured, stage="noise, paired", input=told, **row)
for method, which in changed.items():
    share = 100 * which.double().mean().item()
    run.record(**measured, method=method, stage="noise", input=told, n=len(which), changed_by_noise=share)
pd.DataFrame(caused).round(4)

# %% [markdown]
# ## Does the rule matter?
#
# The selection rules choose different grids (notebook 02), and might be harder to tip, or easier. With the same
# weights, images and noise, each rule beside the paper's, l2:

# %% tags=["measures"]
ruled = {"l2": noisy["MASS"]}
for rule in mass.RULES:
    if rule != "l2":
        model = mass.convert(plain, x, origin=rule, verify=False)
        ruled[rule] = labels_under_noise(model, batches, normalize, settings.noise, white=1, seed=seed)

# %% tags=["measures"]
others = [(rule, "l2") for rule in ruled if rule != "l2"]
flips = {row["method"]: row for row in compare({rule: found.changed for rule, found in ruled.items()}, others)}

# %% tags=["measures"]
rules = []
for rule, found in ruled.items():
    row = {"top1": 100 * found.right.double().mean().item(), "changed_by_noise": found.shares()["changed_by_noise"]}
    tested = {name: value for name, value in flips.get(rule, {}).items() if name not in ("method", "against")}
    rules.append({"rule": rule, "n": len(found.true), **row, **tested})
    run.record(**measured, method="MASS", stage="rule", **rules[-1])
pd.DataFrame(rules).set_index("rule").round(4)

# %% [markdown]
# As published, on the most images:

# %%
Markdown(tables.noise(run.root))

# %% [markdown]
# * MASS changes more labels under noise than the plain network, beyond chance. The difference has three parts:
#   borders that wrap, a different
#   sampling phase, and origins that flip. The first is as large as the last; of the three, only the
#   last is told from chance after correction.
# * The rule matters where it is random: that is worse than l2. That the seam's origins are tipped less is within
#   chance. Accuracy by rule differs by about a point, which was not tested.

# %% [markdown]
# ## Finding where a photograph was cut
#
# A photograph's left border seldom continues its right one. The rule `seam` looks for that break, in rows and in
# columns: every pixel that changes more than both of its neighbours votes. So an image is put back where it was cut,
# wherever it was moved to.

# %%
moved = photographs(settings.size).roll((90, 130), (2, 3))  # (2, 3, H, W)
fig = image_row([*moved, *in_frame(moved)], ["moved by 90, 130"] * 2 + ["moved to their seam"] * 2)
run.figure(fig, "seam")
fig

# %% [markdown]
# Of the images above, how many are found exactly? The paper's rule, asked for an origin in the whole image, gives one
# that moves along with it just as well, but means nothing. The rule's form was chosen on the 1,300 images of the
# profile reduced, so that other photographs may well be found less often.

# %% tags=["measures"]
frames = frames_found(batches, normalize, ["l2", "seam"], settings.seed)
for row in frames:
    run.record(method="MASS", stage="frame", dataset=dataset, size=settings.size, **row)
pd.DataFrame(frames).set_index("rule").round(2)

# %% [markdown]
# A network that expects positions (an embedding, windows, a flatten) then sees what it was trained on. MobileNetV2
# expects little: what it gains is its own sampling grid and, if the network is left untouched there, its zero padding.

# %% tags=["measures"]
framed = top1_and_consistency(InItsFrame(plain), batches, prepare=normalize, seed=seed, description="framed")
run.record(**measured, method="plain", rule="seam", **framed)
shown = {"plain": rows[0], "circular padding": rows[1], "MASS": rows[2], "plain, in its seam": framed}
pd.DataFrame(shown).T[["top1", "shifted_top1", "consistency"]].astype(float).round(2)

# %% [markdown]
# * Both are as consistent as every rule: 100%.
# * The network that is left untouched keeps its accuracy wherever the seam is found: compare `plain, in its seam` with
#   `plain` above, on many images (profile reduced). Circular padding alone loses about as much as MASS.
# * It lives on an artefact: only a photograph that was shifted *circularly* has a seam inside. A scene that is periodic
#   by itself has none, and where noise, a crop or a plain background moves the seam, the whole network sees an
#   image that begins elsewhere.

# %% [markdown]
# ## What is not promised: half pixels, windows, zeros
#
# All of the above holds for circular shifts by whole pixels. An image can move in other ways: by half a pixel, so that
# all values between pixels are interpolated (bilinear interpolation blurs; Fourier's does not), or as a window of 192 x
# 192 pixels that slides over the image, gains a column and loses one; or with zeros moving in. The same four
# networks, two views of each image:

# %% tags=["measures"]
seen_twice = two_views(versions, batches, normalize, settings.moved, settings.seed)
moves = agreement(seen_twice)
for row in moves:
    run.record(model="mobilenet_v2", dataset=dataset, size=settings.size, stage="move", **row)
fig = agreement_points(pd.DataFrame(moves), f"Two views of {moves[0]['n']} images, MobileNetV2")
run.figure(fig, "moves")
fig

# %% [markdown]
# Labels are coarse; the mean cosine between the logits of the two views says how far the answers moved:

# %%
pd.DataFrame(moves).pivot_table("cosine", "input", "method", sort=False).round(4)

# %% [markdown]
# Do the labels of MASS agree less often than those of the plain network, or of the network whose borders wrap and
# whose grid is fixed? Image by image, as above:

# %% tags=["measures"]
for row in compare_views(seen_twice, [("MASS", "plain"), ("MASS", "circular padding")]):
    run.record(model="mobilenet_v2", dataset=dataset, size=settings.size, stage="move, paired", **row)

# %% [markdown]
# As published, on the most images:

# %%
Markdown(tables.moves(run.root))

# %% [markdown]
# * Only the first row is a promise, and only there something is exact.
# * Elsewhere MASS is an ordinary network: half a pixel is a new image with new energies, and a window's border decides
#   with its interior. No difference in how often labels agree is told from chance, neither to the plain network nor to
#   circular padding alone; the intervals leave room for a few points either way.
# * In the profile reduced the logits of all networks whose borders wrap move a little more than the plain network's,
#   circular padding alone included (mean cosines, not tested).

# %% [markdown]
# ## Ordinary shifts made circular: a larger canvas
#
# An object that moves before a plain ground does not come back on the other side. But while it stays in view, it might
# as well: on a canvas of the ground's colour, larger than the image, its ordinary shift *is* a circular shift of the
# canvas. `mass.canvas` makes one, by the colour of the image's border, by its mean, by a value, or by mirrors.

# %%
views = photographs(settings.size)[1:]  # (1, 3, H, W)
grounds = ["border", "mean", 0.5, "reflect"]
shown = [mass.canvas(views, settings.size + 96, ground, (16 + 20 * k, 40))[0] for k, ground in enumerate(grounds)]
fig = image_row(shown, [f"ground: {ground}" for ground in grounds])
run.figure(fig, "canvas")
fig

# %% [markdown]
# A photograph put at two places of a canvas: MASS gives bit-identical logits, the plain network does not. With $c_a$
# for the canvas with the image at $a$, and a ground that is constant, $c_b = S_{a - b}\,c_a$ as long as the image stays
# on it: an ordinary shift of the image is a circular one of the canvas.

# %%
here, there = (normalize(mass.canvas(views, settings.size + 32, 0.5, at)) for at in ((0, 0), (21, 13)))
{method: bool((model(here) == model(there)).all()) for method, model in versions.items()}

# %% [markdown]
# What a larger canvas costs in accuracy, and which labels hold when zeros come in and content leaves, for which nothing
# is promised; as published, on the most images:

# %%
Markdown(run.published("canvas"))

# %%
Markdown(run.published("canvas_paired"))

# %% [markdown]
# * With MASS (and APS, in the cell above) an image that is put elsewhere on its canvas gets bit-identical logits: what
#   is exact for circular shifts is exact for this ordinary one. The plain network's label changes for some ('put
#   elsewhere: same label').
# * What it costs MASS is not told from chance after correction: on the smaller canvas intervals reach from one to three
#   points lost to two gained, on the larger some points are lost, where the interval leaves zero out before correction.
#   Nor does a canvas bring back what borders took: in the table the plain network, too, is lower on it (not tested).
# * It ends where content leaves the canvas or comes in, and where the ground is not plain: a photograph slides on
#   beyond its edge. There labels hold about as often as those of the other networks (not tested).

# %% [markdown]
# ## Table 3, row by row
#
# The same at scale is a command (`python -m companion.studies.imagenet FOLDER`), resumable, on one process or many. The
# ordinary crop, consistency by each published protocol, noise; networks whose weights are not at hand are said not to
# have been run:

# %%
Markdown(run.published("imagenet"))

# %%
Markdown(run.published("imagenet_paired"))

# %% [markdown]
# ## Images that flip
#
# The first images whose label changes in the plain network when they move (in words: the images themselves are not
# ours to publish). The converted network gives one label each.

# %% tags=["measures"]
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
# ## Try this
#
# One network is right where the other is wrong on 79 images, and the other way round on 48. What does McNemar's exact
# test say? And what if both counts were a tenth of that?
#
# <details><summary>Solution</summary>
#
# ```python
# from scipy.stats import binomtest
#
# for b, c in ((79, 48), (8, 5)):
#     print(b, c, binomtest(b, b + c, 0.5).pvalue)
# ```
#
# About 0.008, and 0.58: the same ratio says nothing when so few images decide. How many were right in both plays no
# part at all.
#
# </details>

# %% [markdown]
# ## Summary
#
# * Weights transfer without training; consistency is 100% (notebook 07 compares the logits: bit-identical).
# * Circular padding costs accuracy, significantly; the origins' share is within chance. What fine-tuning recovers is
#   notebook 07's.
# * Invariance to shifts does not buy stability to noise, to half pixels or to windows; report them beside it.
# * `seam` finds where a photograph was cut, for those that want the network to see it so.
#
# * On a larger canvas an ordinary shift is a circular one, and the promise holds for it; what leaves the canvas ends
#   it.
#
# Next: **07** fine-tuning: does the loss come back?
