# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Detection: boxes that move along with their image
#
# "Extending to detection and instance segmentation" is where the paper stops. A detector answers with boxes, names
# and scores, and when its image moves by a pixel, boxes jump, scores waver, and objects near the threshold flicker.
#
# The claim of this notebook: with the weights it has, a detector can give *the same set of detections*,
# bit-identical, moved along with the image: under circular shifts, and under ordinary ones before a plain ground.
# First what breaks, piece by piece; then a detector that is trained here; then one that others trained, on
# photographs.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd
import torch
from IPython.display import Markdown

import mass
from companion.data.datasets import DATASETS
from companion.models.methods import METHODS
from companion.models.pretrained import is_fetched
from companion.pipeline.run import Run
from companion.studies.detection import figures, photographs, pieces, recipes, segmented, shifted, tables

run = Run("14_detection", profile)
settings, seed = run.settings, run.settings.seed
figures.use_style()

# %% [markdown]
# ## A detector, trained here
#
# A small one after FCOS: at every position of a map of stride 8 which kind of object, and how far its box reaches to
# the left, up, right and down. The same recipe from the same weights for each method: zero padding and the fixed grid,
# and MASS; in `reduced` four methods, three seeds each. In the profile `quick` it looks for defects in generated vias,
# 64 x 64; in `reduced`, on DeepPCB's circuit boards, at half their size, with the template and the difference from it
# as further channels.

# %%
data = DATASETS[settings.dataset](run.root)
test = data.test.first(settings.probed)
networks = recipes.networks(recipes.recipes(settings), run.root, run.checkpoints)
first = {METHODS[r.method].printed: network for r, network in networks.items() if r.seed == seed}

# %% [markdown]
# One image (of a board a part, enlarged), unmoved and moved; boxes are drawn where they were found, dotted where they
# are. On a torus a box may begin at one side of the image and end at the other.

# %%
shown = [(0, 0), (3, 5), (6, 2)]
moves = shifted.circular(test.first(1), shown)
two = {METHODS[name].printed: first[METHODS[name].printed] for name in ("baseline-zero", "mass")}
rows = shifted.examples(two, data, moves, ["unmoved", *(f"moved by {shift}" for shift in shown[1:])])
truths = [shifted.true_boxes(move, 0) for move in moves]
fig = figures.side_by_side(rows, data.kinds, truths, shifted.VIEWS.get(settings.dataset))
run.figure(fig, "vias" if settings.dataset == "periodic-boxes" else "boards")
fig

# %% [markdown]
# ## The pieces that break
#
# Behind the dense part every piece of a detector knows where the image ends. A map's positions are laid out from the
# image's corner, although the network chose its origin; boxes are clipped; of equal scores the first in the map's
# order wins; `batched_nms` keeps labels apart by adding offsets, so that rounding depends on coordinates; RoIAlign
# reads zeros outside and interpolates at absolute coordinates; masks are pasted by rounding absolute corners. Each
# piece alone, on random boxes and maps, as torchvision has it and as `mass.detection` has it:

# %%
mass_network = first[METHODS["mass"].printed]
x = data.normalize(test.images[:8])
found = [pieces.origins_read(mass_network, x, [(1, 0), (3, 5), (7, 2), (4, 4)])]
found += pieces.moving_along(settings.trials, seed)
for row in found:
    run.record(stage="pieces", **row)
fig = figures.pieces(pd.DataFrame(found))
run.figure(fig, "pieces")
fig

# %% [markdown]
# The first row is a converted network whose boxes are read with the origins that it chose, and, instead, as if its
# map began in the image's corner. `mass.output_origins` says where an output's positions lie.
#
# ## On the torus
#
# A box is a corner $(u, v)$ modulo the image's sides and an extent. A shift by $t$ takes it along,
#
# $$(u, v) \mapsto ((u, v) - t) \bmod (H, W),$$
#
# and leaves its extent. Two arcs of a circle of length $W$ that begin at $a$ and $b$, with extents $w_a$ and $w_b$,
# have in common, with $d = (b - a) \bmod W$,
#
# $$\max(0,\ \min(w_a,\ d + w_b) - d) + \max(0,\ \min(w_a,\ d + w_b - W)),$$
#
# where $d$ does not change when both move: nor does the area that two boxes share, the product over rows and columns.
#
# `mass.detection` has boxes that wrap, their IoU, suppression with ties broken by what boxes look like and never by
# an index, and torchvision's detectors as a whole: RetinaNet, FCOS, SSD, SSDLite, Faster, Mask and Keypoint R-CNN go
# through `mass.convert` and keep their weights.

# %%
a, b = torch.tensor([[60.0, 10.0, 70.0, 20.0]]), torch.tensor([[0.0, 10.0, 6.0, 20.0]])
print("IoU across the seam:", mass.detection.box_iou(a, b, (64, 64)).item())
print("as plain boxes:", mass.detection.split_at_seam(a, (64, 64))[0].tolist())

# %%
Markdown(tables.architectures(run.root))

# %% [markdown]
# Ultralytics' YOLO from its `yaml`, random weights, converts as well, its outputs bit-identical (v8n, 11n,
# segmentation and classification): rows `ultralytics/…` of `results/libraries.json`. What lies behind its outputs,
# the suppression, is its users' code.
#
# ## Average precision, at worst
#
# AP is of a set of images. Somebody who may choose for every image how it is shifted can make it smaller, and
# Manfredi & Wang (2020) search for that choice greedily; the same search upwards gives the best. Where the two
# differ, an AP is a matter of luck. `circular`: circular shifts within the total stride. `window`: a smaller window
# slides over the image; something enters and something leaves, and nothing is promised. `Baseline, converted` has the
# weights that were trained with circular padding on the fixed grid, and was converted afterwards.

# %% tags=["measures"]
measured, shifts = [], shifted.residues(settings.shifts, seed)
for (method, number), network in shifted.with_converted(networks).items():
    about = {"method": method, "dataset": settings.dataset, "net": settings.net, "seed": number}
    measured += [about | row for row in shifted.measure(network, data, test, shifts)]
whole = recipes.tested(recipes.recipes(settings), run.root, run.checkpoints)
for row in whole:
    run.record(stage="tested", **row)
for row in measured:
    run.record(stage="precision", epochs=settings.epochs, **row)
for row in shifted.paired(measured, whole):
    run.record(stage="precision, paired", dataset=settings.dataset, net=settings.net, epochs=settings.epochs, **row)

# %%
fig = figures.precision(
    pd.DataFrame(measured), f"{len(test)} images, {settings.shifts} shifts each; circle: unmoved, bar: worst to best"
)
run.figure(fig, "precision")
fig

# %%
columns = ["ap", "mean_ap", "worst_ap", "best_ap", "identical", "changed", "mean_error", "worst_error"]
pd.DataFrame(measured).groupby(["protocol", "method"], sort=False)[columns].mean().round(2)

# %% [markdown]
# `identical`: images whose set of detections (scores from 0.3) is bit-identical under all circular shifts, moved
# back; `changed`: images where some object appeared, vanished or changed its name; errors: pixels between the
# centres. As published, of circuit boards, with the AP of all test images:

# %%
Markdown(tables.detectors(run.root))

# %% [markdown]
# Under circular shifts MASS has one AP, and so has what was converted. On the fixed grid a choice of shifts moves AP by
# more than ten points, random shifts in training included. Under a window MASS's AP moves as well. MASS less the
# others:

# %%
Markdown(tables.detectors_paired(run.root))

# %% [markdown]
# Unmoved, no method is told from MASS on all test boards. At worst MASS lies above every method on the fixed grid, in
# each of three seeds; so few seeds do not make it certain once all comparisons are counted.
#
# ## Masks
#
# Mask R-CNN finds boxes and paints each object's pixels. Torchvision's, with two small levels and narrow heads, learns
# here to segment the defects of vias, one or two an image, wherever the camera stands. The shifts are those of its
# total stride, and no border cuts a defect under any of them: the images are as easy after a shift as before.

# %%
vias = DATASETS["periodic-instances"](run.root)
segmenters = segmented.with_converted(recipes.networks(recipes.mask_recipes(settings), run.root, run.checkpoints))
few = vias.test.first(settings.mask_images)

# %% tags=["measures"]
masked, reaches = [], segmented.residues(settings.mask_shifts, seed)
for method, network in segmenters.items():
    masked.append({"method": method} | segmented.measure(network, vias, few, reaches))
for row in masked:
    run.record(stage="masks", dataset="periodic-instances", net="mask-rcnn-vias", epochs=settings.mask_epochs, **row)

# %%
columns = ["iou", "worst_iou", "ap", "worst_ap", "best_ap", "pixels", "identical"]
pd.DataFrame(masked).set_index("method")[columns].round(1)

# %% [markdown]
# `iou`: of each defect with the best mask of its kind, and at each image's worst shift; AP of masks at an IoU of 0.5;
# `pixels`: of those in some mask before or after a shift, the share that stays; `identical`: images whose boxes,
# labels, scores and masks are bit-identical under all shifts, moved back. Converted, or trained with MASS, every image
# keeps its set and every pixel of its masks; on the fixed grid no image keeps its set, with borders that wrap or not.

# %%
shown = [(0, 0), (1, 0), (2, 5), (7, 3)]
two = {name: segmenters[name] for name in (METHODS["baseline-zero"].printed, segmented.CONVERTED)}
fig = figures.side_by_side(segmented.examples(two, vias, few.first(1), shown), vias.kinds)
run.figure(fig, "masks")
fig

# %%
Markdown(tables.masks(run.root))

# %% [markdown]
# ## A detector that others trained
#
# FastestDet, with its authors' COCO weights, on photographs of PASCAL VOC. As an image moves to the left before a
# plain ground (`mass.canvas`), pixel by pixel, the score of its best detection should not change at all. (The weights
# come from a mirror folder: `make fetch DATA=fastestdet`. Where they are not, this part shows only what was
# published.)

# %%
photos = None
if settings.images and is_fetched("fastestdet"):
    photos = photographs.photographs(run.root, settings.images)
    three = photographs.versions(photos[:2, :, :352, :352])
    two = {name: three[name] for name in (photographs.PLAIN, photographs.MASS)}

# %%
fig = None
if photos is not None:
    curves = photographs.curves(two, photos[[0, 2, 7]], 32)
    fig = figures.confidences(curves)
    run.figure(fig, "scores")
fig

# %%
fig = None
if photos is not None:
    rows = photographs.examples(two, photos[0], [(0, 0), (5, 9), (11, 3), (16, 30)])
    fig = figures.side_by_side(rows, photographs.classes())
    run.figure(fig, "photograph")
fig

# %% [markdown]
# Steady is not the same as right: on the published photograph the converted network says the same at every place, and
# it calls both sheep birds. It has the weights that were trained with zero padding, and sees wrapped borders for the
# first time.
#
# In numbers: three ways to move, three networks of the same weights, the same moves for all. How often are there
# other objects than before?

# %% tags=["measures"]
fates, pairs = photographs.fates(three, photos, settings.image_shifts, seed) if photos is not None else ([], [])
for row in fates:
    run.record(stage="photographs", **row)
for row in pairs:
    run.record(stage="photographs, paired", **row)

# %% tags=["measures"]
if photos is not None:
    found = photographs.ask(three[photographs.PLAIN], photos, "circular", [(0, 0)] * len(photos))
    named = photographs.named_right(found, run.root)
    run.record(stage="photographs, named", model="fastestdet", dataset="voc-subset", **named)
    told = f"{named['right']:.0f}% of {named['n']} photographs with any"
    print(f"The best detection is of a class in VOC's mask: {told}.")

# %% [markdown]
# That is what the plain network's names are worth, unmoved: of the photographs in which it finds anything, the share
# where its best detection is of a class that VOC's mask of that photograph has. It says that the network works on
# these photographs; what moves do to it comes next.

# %%
fig = None
if fates:
    fig = figures.objects_changed(pd.DataFrame(fates), "FastestDet: photographs whose detections change")
    run.figure(fig, "objects")
fig

# %% [markdown]
# As published, with images of ImageNet's validation set beside VOC's (`companion.studies.detection.parts`):

# %%
Markdown(tables.fastestdet(run.root))

# %% [markdown]
# Converted, nothing changes where that is promised: no image's set under circular shifts, none on a canvas. Under a
# window that slides, where nothing is promised, it changes about as often as the plain network's. Pair by pair:

# %%
Markdown(tables.fastestdet_paired(run.root))

# %% [markdown]
# MASS is told apart from both others where it is promised to be steady, and from neither under a window. That circular
# padding alone helps is not told.

# %% [markdown]
# ## Try this
#
# Two boxes of equal scores overlap. Which of them does torchvision's suppression keep, and which does the one on the
# torus keep, when they are given in the other order?
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
# from torchvision.ops import nms
#
# import mass
#
# boxes = torch.tensor([[10.0, 10.0, 20.0, 20.0], [11.0, 10.0, 21.0, 22.0]])
# scores = torch.tensor([0.5, 0.5])
# for order in ([0, 1], [1, 0]):
#     torus = mass.detection.nms(boxes[order], scores, 0.5, (64, 64))
#     print(boxes[order][nms(boxes[order], scores, 0.5)].tolist(), boxes[order][torus].tolist())
# ```
#
# torchvision keeps the first, and a shift changes which is first. On the torus equal scores are ordered by what boxes
# are, height first, so that the order in which they come does not matter.
#
# </details>

# %% [markdown]
# ## Summary
#
# * **The same set, bit-identical.** A converted detector finds the same boxes, names and scores under every circular
#   shift that was tried, for every image that was asked, both detectors; and FastestDet under every ordinary move
#   before a plain ground (`mass.canvas`). No network on the fixed grid does so for a single image on circuit boards.
# * **Every piece has to be on the torus.** Positions read without the network's origins, clipping, RoIAlign and
#   pasting of masks break nearly every trial alone; suppression breaks about half of those with equal scores, and
#   nine in ten of those with overlaps at the threshold.
# * **AP becomes one number.** On a circle MASS's worst AP is its best. On circuit boards a detector on the fixed grid
#   has an AP that a choice of shifts moves by more than ten points, random shifts in training included.
# * **It is not a better AP.** Unmoved, over three seeds and all test boards, MASS is not told from the other methods.
#   At the worst shifts it lies above those on the fixed grid in every seed, which so few do not make certain.
# * **Masks as well.** A Mask R-CNN that was converted, or trained with MASS, paints the same pixels under every shift
#   that was tried. On the fixed grid, with borders that wrap or not, no image keeps its set, and of the pixels in its
#   masks about one in five or six changes when an image is shifted by less than the total stride.
# * **Weights carry over**: what was trained on the fixed grid and converted afterwards is as exact as what was
#   trained with MASS, boxes and masks.
# * **A published detector flickers**: FastestDet's scores waver by about four hundredths, on average, as a photograph
#   moves by up to 31 pixels, and on most photographs some object appears, vanishes or changes its name under a few
#   moves. That circular padding alone helps is not told. Converted, it is steady where that is promised, which does not
#   make it right.
# * **A window that slides sees something else**, and nothing is promised: there, FastestDet is not told to be steadier
#   for being converted.
#
# Not measured here: circuit boards at their full size (the profile `paper`), longer training (accuracies are those of
# minutes), more than one seed of the Mask R-CNN, and what conversion costs or gains of AP on a benchmark.
