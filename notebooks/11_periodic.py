# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Periodic structures with defects
#
# The paper's first paragraph names the use: defects in memories, displays, image sensors, structures that repeat a
# thousand times, under a misalignment that is always there. A detector is trained on photographs that were taken with
# the camera in its place. Then somebody bumps into it, and it stands three pixels to the left.
#
# This is the shortest way from "I have periodic images" to "my detector no longer cares where the camera was". What
# is measured is not the mean over some random shifts but the *worst* of all: an image counts if the detector is
# right wherever the camera stands.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd
from IPython.display import Markdown

from companion.data.datasets import DATASETS
from companion.models.methods import METHODS
from companion.pipeline.run import Run
from companion.studies.periodic import equal_objects, figures, misregistration, questions, solar_cells, whole
from companion.studies.periodic.asked import ASKED, asked, networks
from companion.studies.periodic.boards import located, pairs
from companion.studies.periodic.recipes import recipes
from companion.studies.periodic.whole_memory import peak_memory

run = Run("11_periodic", profile)
settings = run.settings
figures.use_style()

# %% [markdown]
# ## Images
#
# Four kinds of structure, five kinds of defect, drawn from a seed: pitches that are no whole pixels, light, lens,
# noise; and masks, labels and boxes. A structure of whole cells wraps: what leaves on the left returns on the
# right, so that for it a camera that moved by whole pixels *is* a circular shift.

# %%
fig = figures.structures()
run.figure(fig, "structures")
fig

# %% [markdown]
# ## Training, with the camera in its place
#
# Vias, 8 pixels apart, 64 x 64; is there a defect? 512 images to train on, 200 to test, all at misregistration 0. One
# small network of total stride 8; methods differ in how it pads and samples, and one is shown shifted images. What is
# said of results is said of the profile `reduced`, three seeds where nothing else is said; smaller profiles leave out
# some parts, and then show nothing there or "not run".

# %% tags=["measures"]
made = recipes(settings, settings.methods, seeds=settings.seeds)
trained = networks(made, run.root, run.checkpoints)
data = DATASETS["periodic"](run.root)

# %% [markdown]
# ## The worst case over all residues
#
# With circular borders a network of total stride $S$ commutes with shifts by multiples of $S$, so that its answer
# depends on a shift $t$ through $t \bmod S$ alone: at most $S^2 = 64$ answers, for $S = 8$, to all shifts of an image.
# All 64 are asked, and an image $x$ with label $c$ counts if
#
# $$\min_{t \in [0, S)^2} \mathbf{1}\bigl[y(S_t\,x) = c\bigr] = 1.$$
#
# For MASS the 64 are one, $y(S_t\,x) = y(x)$: the worst case is the mean. Bars here and points below are means over
# seeds; their 95% intervals are Wilson's for n images, or Student's over seeds, of three or more, where that is wider.

# %% tags=["measures"]
vias = asked(made, run.root, run.checkpoints, settings.probed)
rows, paired = vias.rows, vias.paired()
for row in vias.records():
    run.record(**row)

# %%
fig = figures.worst(pd.DataFrame(rows), f"Trained with the camera in its place; {rows[0]['n']} test images")
run.figure(fig, "worst-case")
fig

# %%
columns = ["top1", "shifted_top1", "worst_top1", "consistency", "steady", "identical"]
pd.DataFrame(rows).groupby("method", sort=False)[columns].mean().round(1)

# %% [markdown]
# A network that samples on a fixed grid has seen every via at one phase of that grid, for the pitch is its total
# stride: it is blind elsewhere. With zero padding the 64 shifts are not all there are, so its worst case is at most
# what is shown. `identical` are images whose logits are bit-identical at all residues.
#
# Is the difference more than chance? MASS less each of the others: image by image, first seed (McNemar's test), and
# over seeds where there are several (Student's); corrected for the number of comparisons (Holm).

# %%
figures.differences(paired)

# %% [markdown]
# Trained with the camera in its place, at a pitch that is the total stride, a network on a fixed grid is right there,
# and gives one and the same answer to nearly everything elsewhere. MASS has one accuracy: in its place, on average and
# at the worst residue, bit-identical, and needs no shifted image for it. It is not told apart from APS, which chooses
# as well. The network that is shown shifts has not learnt the task in these steps (below: how many it takes).

# %% [markdown]
# ## Accuracy against misregistration
#
# Whole pixels of an image that wraps are what the theorem is about. Cameras also move by fractions of a pixel, and
# what they see does not wrap: on the right a window slides over a longer structure, new vias come in, light and
# noise stay with the camera. Here nothing is promised, and it is measured.

# %% tags=["measures"]
shown = {METHODS[r.method].printed: network for r, network in trained.items() if r.seed == settings.seed}
steps = settings.misregistrations
curves = list(misregistration.against_misregistration(shown, data, steps, settings.probed))
for row in curves:
    run.record(stage="misregistration", dataset="periodic", net="periodic", **row)

# %%
majority = rows[0]["majority"]  # percent right by one answer to all
fig = figures.against_misregistration(pd.DataFrame(curves).assign(majority=majority))
run.figure(fig, "misregistration")
fig

# %% [markdown]
# Half a pixel is a shift that no theorem is about: vias then look different, and a network that has seen them at one
# fraction alone does not know them at another, MASS included. Whole pixels are what MASS takes care of; fractions are
# what training has to show. So: the same 512 scenes, with the camera out of its place by less than a pixel, at random,
# one seed.

# %% tags=["measures"]
between = questions.fractions(settings, run.root, run.checkpoints)
again = list(misregistration.against_misregistration(between, data, steps, settings.probed)) if between else []
for row in again:
    run.record(stage="misregistration", dataset="periodic-fractions", net="periodic", **row)

# %%
fractions = pd.DataFrame(again).assign(majority=majority)
fig = figures.against_misregistration(fractions, "Shown fractions in training") if again else None
if fig:
    run.figure(fig, "misregistration-fractions")
fig

# %% [markdown]
# MASS does not learn the task in as many steps: it gives one answer to nearly all, and that this answer stays is no
# merit. The fixed grid learns it within a pixel, and is blind from one and a half pixels on, until the next multiple of
# the stride. That is for one seed. (Dotted: the labels in place; in a window that slides they change a little.)

# %% [markdown]
# ## Pitch and stride
#
# Via $n$ of pitch $p$ lies at phase $n p \bmod S$ of the grid. With a pitch of 8 and a stride of 8 that is one phase.
# With $64/9$ pixels it is nine, which shows a plain network all phases at once, and leaves little to choose an origin
# by: phases tie, and noise decides.

# %% tags=["measures"]
pitches = questions.pitches(settings, run.root, run.checkpoints)
for row in pitches:
    run.record(stage="pitch", **row)

# %%
fig = figures.against_cells(pd.DataFrame(pitches))
run.figure(fig, "pitch")
fig

# %%
columns = ["worst_top1", "margin", "moved_origins", "changed_by_noise"]
asked_at = pd.DataFrame(pitches).round({"pitch": 2})
asked_at.pivot_table(index="pitch", columns="method", values=columns, sort=False).round(2)

# %% [markdown]
# At a pitch that is the stride noise (of 6 grey levels) moves no origin (`moved_origins`, % of images). At all others
# that were tried, a divisor and a multiple of the stride among them, it moves that of about 40% of the images or more.
# At most of them the phases of the first origin nearly tie (`margin`: its median margin, %); at half the stride these
# do not. MASS is still exact; it then has to learn from many grids, as a network does that is shown shifts.
# `changed_by_noise`: labels that this noise changes, %; they differ more between pitches than between the two (not
# tested).

# %% [markdown]
# ## The price of augmentation
#
# A network that is shown all shifts learns to answer them alike, in time. How many steps until its worst case is
# that of MASS?

# %% tags=["measures"]
longer = questions.lengths(settings, run.root, run.checkpoints)
for row in longer:
    run.record(**row)

# %%
fig = figures.against_length(pd.DataFrame(longer)) if longer else None
if fig:
    run.figure(fig, "length")
fig

# %% [markdown]
# Random shifts in training are the honest competitor: what they cost is time. MASS is right about 98 of 100 images at
# every residue after 128 steps, and about all after 1,024. A network that is shown shifts gets no image right at every
# residue after 256 steps; after 1,024 steps one run of three gets all right, after 2,048 all three do.

# %% [markdown]
# ## Trained on tiles, run on the whole
#
# The classifier, its channels weighed before they are averaged, is a map that says where. Trained on 64 x 64, it
# runs on any size its stride divides. `mass.output_origins` says which pixels a position means; an alarm is given where
# the map is higher than anywhere on the training tiles without a defect.

# %% tags=["measures"]
both, data, photo = whole.tiles_and_whole(settings, run.root, run.checkpoints)
places_found = whole.located(both, data, photo)
for row in places_found:
    run.record(stage="whole", dataset="periodic", net="periodic", size=settings.whole, **row)

# %% tags=["measures"]
places = whole.alarms(both, data, photo.images.roll((3, 3), (2, 3)))
defects = photo.defects[0].roll((3, 3), (0, 1))
fig = figures.heat(photo.images[0, 0].roll((3, 3), (0, 1)), defects, places)
run.figure(fig, "whole")
fig

# %% tags=["measures"]
pd.DataFrame(places_found).set_index("method").round(1)

# %% [markdown]
# Drawn: the image moved by (3, 3). `moved`: positions whose heat is there, bit-identical, when it has moved by (3, 5).
# `tiled`: the same for a tile that is cut out at a multiple of the stride and run on its own, well inside it. On a
# fixed grid such a tile always agrees with the whole. Under MASS it chooses an origin of its own, and agrees where
# that is the whole's, as on a lattice whose pitch is the stride. `strays`: alarms far from any defect, for a threshold
# of tiles meets more positions on the whole.
#
# So what was trained on tiles runs on the whole as it is, bit-identical under shifts with MASS. Thresholds do not carry
# over as easily: unmoved (the table), both find all defects, with tens to hundreds of false alarms, where the light is
# brightest; which of them gives more differed between two trainings. Shifted by (3, 3) (the figure), the fixed grid
# gives alarms everywhere, and MASS the same as before.
#
# What it takes in memory: the growth of a process of its own, in megabytes, while a heat map is made, and while 16
# tiles are trained on.

# %% tags=["measures"]
memory = peak_memory(settings.weighed)
for row in memory:
    run.record(stage="memory", **row)

# %%
pd.DataFrame(memory).pivot_table(index="input", columns="method", values="peak_mb", sort=False).round(
    0
) if memory else "not measured"

# %% [markdown]
# In no more memory than on the fixed grid.

# %% [markdown]
# ## What cannot be told apart
#
# Equal objects in equal surroundings. An encoder-decoder of three poolings by 2 tells at most 64 of them apart, by
# where they lie on its grid (Rumberger et al., 2021). One that moves with the image tells none apart, by Curie's
# principle: if $S_g\,x = x$ takes one via to the next, then $S_g\,f(x) = f(S_g\,x) = f(x)$, and all vias have one
# label. No label of *the third via* can come from it. Where the image has a symmetry that is no multiple of the stride,
# MASS must choose, and its choice shows, until it averages over all choices.

# %% tags=["measures"]
apart = equal_objects.told_apart((8, 16))
for row in apart:
    run.record(stage="equal objects", **row)

# %%
pd.DataFrame(apart).pivot_table(index="method", columns="objects", values="answers", sort=False)

# %% [markdown]
# Different answers to equal objects: MASS gives as many as the fixed grid, since its choice shows; averaged over all
# choices it gives one. No equivariant network numbers equal objects.

# %% [markdown]
# ## Real images: solar cells
#
# Electroluminescence (Buerhop-Lutz et al., 2018), functional or not: each image is one cell of a periodic module. Which
# module it was cut from is not published, so that cells of one module may be trained on and tested. First the small
# network, from nothing, at 64 x 64; all test images at all 64 residues, over five seeds.

# %% tags=["measures"]
answers = solar_cells.from_nothing(settings, run.root, run.checkpoints)
cells, compared = answers.rows, answers.paired()
for row in answers.records():
    run.record(**row)

# %%
title = f"Solar cells, small ResNet: {cells[0]['n']} test images at 64 residues" if cells else ""
fig = figures.worst(pd.DataFrame(cells), title) if cells else None
if fig:
    run.figure(fig, "solar-cells")
fig

# %%
figures.differences(compared)

# %% [markdown]
# Random shifts in training and a filter nearly make up for the grid: on average over residues their means are within a
# point of MASS's (not tested). At the worst residue they lose a few points and MASS none: told apart image by image in
# one seed's networks, and not over five seeds after correction. Without either, the fixed grid's worst residue lies far
# below one and the same answer to all. APS and MASS, with a filter or without, are not told apart.
#
# MASS has a price here: with the camera in its place the fixed grid with circular padding and without shifts is more
# accurate, by two points or so (told apart image by image in one seed's networks; over five seeds the corrected p lies
# just above .05); with zero padding the difference is not told apart either way. What MASS buys is that one number
# holds everywhere; where a camera does not move, it buys nothing.

# %% [markdown]
# Few images, of generated vias and of solar cells: the same few again and again, in as many steps.

# %% tags=["measures"]
sets = {
    "generated vias": questions.few(settings, run.root, run.checkpoints),
    "solar cells": solar_cells.few_images(settings, run.root, run.checkpoints),
}
for row in [*sets["generated vias"], *sets["solar cells"]]:
    run.record(**row)

# %%
found = {title: pd.DataFrame(few) for title, few in sets.items() if few}
fig = figures.against_images(found) if found else None
if fig:
    run.figure(fig, "few-images")
fig

# %% [markdown]
# Of generated vias MASS learns from 32 images; the others stay at one answer to all or below it. Of 30 or 100 solar
# cells, five seeds, no network learns much more than one answer to all. MASS and APS stay near that at every residue; a
# fixed grid falls to a few per cent, and a filter helps a third to half of the way.
#
# On solar cells, MASS less random shifts in training, over seeds:

# %%
figures.differences(solar_cells.against_shifts(sets["solar cells"], "baseline-shifts", ASKED))

# %% [markdown]
# A network that was shown shifts loses some points, most (nine) with 30 images, where the difference to MASS is told
# apart over seeds. With 300 all have learnt in place, and MASS is ahead of random shifts at
# the worst residue and behind in place, by two or three points each, within chance after correction.

# %% [markdown]
# Then MobileNetV2 with its published weights, fine-tuned at 96 x 96 as in notebook 09. Its total stride is 32: 1,024
# residues, all of which the first seeds' networks are asked at, about the first test images. Of all seeds: all test
# images, in place, shifted at random, and whether two random shifts get one label.

# %% tags=["measures"]
tuned, gains = solar_cells.fine_tuned(settings, run.root, run.checkpoints)
answers = solar_cells.exhaustive(settings, run.root, run.checkpoints)
asked_all, compared_all = answers.rows, answers.paired()
for row in tuned + gains + answers.records():
    run.record(**row)

# %%
title = f"Solar cells, MobileNetV2: {asked_all[0]['n']} test images at 1,024 residues" if asked_all else ""
fig = figures.worst(pd.DataFrame(asked_all), title) if asked_all else None
if fig:
    run.figure(fig, "solar-cells-fine-tuned")
fig

# %%
figures.differences(compared_all)

# %% [markdown]
# At the worst of 1,024 residues random shifts and MASS are told apart, over three seeds and image by image: random
# shifts leave a good part of their images behind, and MASS none, bit-identical. A filter alone goes a third of the way;
# circular padding alone helps more or less, by seed. APS and MASS are not told apart. All test images, over five seeds:

# %%
columns = ["top1", "shifted_top1", "consistency"]
pd.DataFrame(tuned).groupby("method", sort=False)[columns].mean().round(1) if tuned else "not run"

# %%
figures.differences(gains)

# %% [markdown]
# Unmoved, the plain network with zero padding is ahead of all whose borders wrap, which these weights have never seen:
# told apart from MASS; from APS and circular padding not tested. Shifted, it falls furthest. On average over shifts,
# random shifts in training and MASS are not told apart, nor are APS and MASS. A filter alone goes 40% of the way under
# random shifts (57% on the 100 images asked at all residues).

# %% [markdown]
# The same network of few images, again in as many steps whatever their number: a third of those above.

# %% tags=["measures"]
tuned_few = solar_cells.fine_tuned_on_few(settings, run.root, run.checkpoints)
for row in tuned_few:
    run.record(**row)

# %%
fig = figures.tuned_on_few(pd.DataFrame(tuned_few)) if tuned_few else None
if fig:
    run.figure(fig, "few-images-fine-tuned")
fig

# %%
asked_of = {"in place": "top1", "shifted at random": "shifted_top1"}
figures.differences(solar_cells.against_shifts(tuned_few, "baseline-zero-shifts", asked_of))

# %% [markdown]
# MASS lies one to three points behind random shifts and APS with 30 to 300 images, and within half a point of both with
# all of them; of random shifts none of it is told apart over five seeds, in place or shifted (of APS it was not
# tested). Circular padding alone is at most 4.3 points below the best, shifted or not. The plain network leads in
# place; it and the anti-aliased one fall far when shifted.

# %% [markdown]
# And of cells that are not scaled, their middle 288 x 288 pixels, three ways, in half of these steps:

# %% tags=["measures"]
tuned_cut, gains_cut = solar_cells.fine_tuned_cut(settings, run.root, run.checkpoints)
for row in tuned_cut + gains_cut:
    run.record(**row)

# %%
pd.DataFrame(tuned_cut).groupby("method", sort=False)[columns].mean().round(1) if tuned_cut else "not run"

# %%
figures.differences(gains_cut)

# %% [markdown]
# At that size a cell is nine total strides wide, and the plain network loses three points by a shift, where at 96
# pixels it lost 15 in the shorter training and 35 in the longer. Over three seeds MASS is told apart from neither of
# the others in place or shifted; what it has is one label wherever the cell lies.

# %% [markdown]
# ## Real images: circuit boards
#
# DeepPCB (Tang et al., 2019): template and test, apart by 0 to 32 pixels. A shift *between* two images is no shift of
# the pair: MASS moves both together, and promises nothing. What helps is to register, by cross-correlation. First
# crops: is there a defect?

# %% tags=["measures"]
answers = pairs.right_at_all(settings, run.root, run.checkpoints)
for row in answers:
    run.record(**row)
crops = [row for row in answers if row["stage"] == "boards"]
compared_crops = [row for row in answers if row["stage"] == "worst case, paired"]

# %%
fig = figures.pairs(pd.DataFrame(crops)) if crops else None
if fig:
    run.figure(fig, "boards")
fig

# %% [markdown]
# Registering the two and taking their difference is what serves. Registered differences under MASS less each of the
# others; "in place" is in register, "worst residue" the worst of all distances:

# %%
figures.differences(compared_crops)

# %% [markdown]
# MASS does not register: one image moves against the other, and that is no shift of both. On registered differences it
# is the less accurate in the mean (told apart at the worst distance image by image in one seed's networks, and not over
# three seeds): it buys nothing here.

# %% [markdown]
# Then nearly whole boards: *where* are the defects? The same networks' heat maps, as above. The threshold of an alarm
# is set once, on other boards in register, so that a board has one false alarm. Bars are over defects, as if those of
# one board had nothing in common.

# %% tags=["measures"]
on_boards = located.located(settings, run.root, run.checkpoints)
for row in on_boards:
    run.record(**row)

# %%
fig = figures.boards_located(pd.DataFrame(on_boards)) if on_boards else None
if fig:
    run.figure(fig, "boards-located")
fig

# %% [markdown]
# Registered, nearly all defects are found at any misregistration, with about one false alarm a board; under MASS a few
# less (not tested). A network that sees both, or their difference unregistered, finds fewer defects and gives about ten
# (the difference) to thirty (both) false alarms a board once the two are far apart. Shown misregistered pairs in
# training, in as many steps, it is quieter and finds little: about 3 false alarms a board against 30 there, and 7 to
# 19% of the defects against 40 to 84%.

# %% [markdown]
# ## The worst cases, as published
#
# All that was asked at every residue, side by side. Of vias and cells only APS and MASS are at the worst residue what
# they are on average.

# %%
Markdown(run.published("worst_cases"))

# %% [markdown]
# Of vias and cells MASS is told apart from every network on the fixed grid at the worst residue, image by image; over
# seeds not from all of them. From APS it is not, in place or at worst.

# %%
Markdown(run.published("worst_cases_paired"))

# %% [markdown]
# ## Try this
#
# At which phases of a stride of 8 do nine vias lie whose pitch is 64/9 pixels? And with a pitch of 8, or of 6?
#
# <details><summary>Solution</summary>
#
# ```python
# from fractions import Fraction
#
# for pitch in (Fraction(64, 9), 8, 6):
#     print(pitch, sorted({int(n * pitch) % 8 for n in range(9)}))
# ```
#
# At all eight (nine places, rounded down to whole pixels); at one; at every second one, 0, 2, 4, 6: what counts is the
# pitch modulo the stride.
#
# </details>

# %% [markdown]
# ## Summary
#
# * **One number everywhere.** Trained with the camera in its place, at a pitch that is the total stride, a fixed grid
#   is right there and blind elsewhere. MASS is as right at every residue, bit-identical, without a shifted image. That
#   is for whole pixels: at half a pixel it is as blind as the others, and shown fractions (one seed) it did not learn.
# * **Random shifts in training are the honest competitor.** On generated vias they cost about eight times the steps. On
#   solar cells they make up for the grid on average over shifts (from nothing this was not tested); at the worst
#   residue they lose a few points from nothing (within chance over seeds), and from published weights a good part of
#   the images, beyond it.
# * **It has a price.** In place a fixed grid that was shown no shifts is the more accurate on solar cells, by two
#   points or so from nothing (just within chance over seeds) and seven from published weights, with zero padding
#   (beyond it). APS and MASS are not told apart where that was tested.
# * **Tiles and the whole.** What was trained on tiles runs on the whole as it is, bit-identical under shifts and in no
#   more memory; thresholds do not carry over as easily.
# * **Not everything is a shift.** Template and board have to be registered with each other, and MASS does not do that.
#   And no equivariant network numbers equal objects.
