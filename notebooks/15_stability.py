# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Stability: exact *and* continuous
#
# An exactly shift-equivariant network may still be nervous. It *chooses* a sampling origin; where two phases have
# nearly the same energy, a little noise selects the other, and the logits jump. For shifts no continuous choice exists.
# But a network need not choose: *weighted frames* (Dym, Lawrence & Siegel, 2024) average over several choices, with
# weights that vanish before a choice disappears. `mass.convert(model, x, blend=0.005)` does that, and stays exact.
#
# This notebook shows the jump, removes it, measures what that buys under noise, and answers the objection that there
# are simpler ways to be exact.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd
import torch
from IPython.display import Markdown
from torch.utils.data import DataLoader

from companion.data.images import labelled_images, photographs
from companion.data.normalisation import normalize
from companion.models.pretrained import mobilenet_v2
from companion.pipeline.run import Run
from companion.studies.stability import answers, bench_tables, continuity, figures, measures, networks, tables
from companion.studies.stability.kept import Kept

run = Run("15_stability", profile)
settings, seed = run.settings, run.settings.seed
figures.use_style()

# %% [markdown]
# ## Four networks from one set of weights
#
# The plain one; with circular padding alone; MASS, which chooses; and MASS, blended. At an origin with phase energies
# $E_1, \dots, E_{P^2}$ blending weighs phase $k$ by
#
# $$ w_k \propto \max\bigl(0,\; E_k - (1 - \beta)\, E_{\max}\bigr), $$
#
# with $\beta$ the `blend` (0.005: half a per cent). Each phase with a positive weight is a path of its own from there
# on, a path's weight is the product along it, and $f(x) = \sum_p w_p\, f_p(x)$. A shift permutes the paths and their
# weights, $E_k(S_t\,x) = E_{k + t}(x)$, so the sum stays, and as energies are sums of integers it is bit-identical. It
# is continuous because $w_k$ is, and is 0 where phase $k$ enters or leaves: a choice, $w_k \in \{0, 1\}$, cannot be
# that.
#
# That is not the whole rule: an image has at most `paths` paths (8 by default). Where more have a weight, the first
# that is too many is taken off all of them, which is continuous as well, except where more than 8 paths tie exactly:
# then nothing is left of them, and the network chooses.

# %% tags=["measures"]
images, dataset = labelled_images(settings.images, settings.size)
print(f"{len(images)} images of {dataset}")
x = normalize(images[0][0])[None]
plain = mobilenet_v2()
four = networks.versions(plain, x, settings.share, settings.paths)

# %% tags=["measures"]
blended = four[networks.BLENDED]
with torch.no_grad():
    same = [torch.equal(blended(x.roll(shift, (2, 3))), blended(x)) for shift in [(1, 0), (3, 5), (17, 31), (100, 7)]]
print("same bits under four shifts:", same)

# %% [markdown]
# ## The jump
#
# One image slowly turns into another. Somewhere on the way two phases tie, and the network that chooses changes its
# grid from one step to the next. Zoomed in on that place, between two images that differ by a fraction of a grey level:

# %% tags=["measures"]
start, end = normalize(photographs(settings.size))
left, right = continuity.tie_on_the_way(four[networks.MASS], start, end, settings.steps)
curves = {name: continuity.along(four[name], left, right, settings.steps) for name in (networks.MASS, networks.BLENDED)}
label = int(curves[networks.MASS].diff(dim=0).abs().amax(0).argmax())  # the class whose logit jumps farthest
fig = figures.on_the_way({name: y[:, label] for name, y in curves.items()}, "Choosing jumps, blending does not")
run.figure(fig, "jump")
fig

# %% [markdown]
# A jump is told from a steep slope by looking closer. With ever finer steps on the same short line, the largest change
# from one step to the next goes to zero if the network is continuous (in proportion, where its slope is bounded), and
# does not if it jumps.

# %% tags=["measures"]
counts = [settings.steps // 4, settings.steps, 4 * settings.steps]
shown = {name: four[name] for name in (networks.CIRCULAR, networks.MASS, networks.BLENDED)}
found = continuity.largest_jumps(shown, left, right, counts)
for row in found:
    run.record(model="mobilenet_v2", stage="continuity", input=f"{row['steps']} steps", **row)
fig = figures.jumps(pd.DataFrame(found), "The jump of a choice does not shrink")
run.figure(fig, "continuity")
fig

# %% [markdown]
# The jump of a choice is as large with sixteen times the steps. Blended, the largest change falls with the step, as
# with circular padding alone, which chooses nothing.

# %% [markdown]
# ## What it buys under noise
#
# Accuracy, and how many labels change under Gaussian noise of two grey levels, on the images at hand; all networks get
# the same noise. Pairs of networks are compared image by image (McNemar's test, Holm's correction within each family:
# comparisons of labels that change, and of top-1).

# %% tags=["measures"]
measured = {"model": "mobilenet_v2", "dataset": dataset, "size": settings.size}
batches = DataLoader(images, settings.batch)
how = measured | {"images": len(images), "share": settings.share, "paths": settings.paths}
kept = Kept(run.root, run.checkpoints, how)  # a run that was killed goes on where it stood
said = kept.asked(four, batches, normalize, answers.CHANGES | answers.SHIFTS, seed)

# %% tags=["measures"]
rows = measures.main_rows(said)
for row in rows:
    run.record(**measured, stage="main", **row)
pd.DataFrame(rows).set_index("method").round(2)

# %% tags=["measures"]
pairs = measures.paired(said)
for row in pairs:
    run.record(**measured, **row)
pd.DataFrame(pairs).round(4)

# %% [markdown]
# Under noise of two grey levels blending takes back what choosing adds: fewer labels change than with a choice, beyond
# chance, and it is not told apart from circular padding alone. It does not reach the plain network; circular padding
# changes more labels than that as well, within chance (notebook 06). Accuracy is not told apart from that of a choice.

# %% [markdown]
# ### For less
#
# A path costs a forward pass from where it forks. One that forks at the last origin computes the last stage anew, no
# more. So settings were tried on a hundred images, and the steadiest within three times the plain network's time was
# asked about the others (`python -m companion.studies.stability.benchmarks.cheaper`):

# %%
Markdown(run.published("stability_cheaper"))

# %% [markdown]
# The cost is the number of paths. An image without a near tie is computed once, and what lies before a tie is shared,
# so that many paths that fork late cost less than three that may fork anywhere. The setting in bold, on the other
# images:

# %%
Markdown(run.published("stability_cheaper_paired"))

# %% [markdown]
# On images that it was not chosen on, noise changes about as many labels as with circular padding alone (the difference
# is not told apart, nor is that to the plain network), for less than three times the plain network's time. It was not
# told apart from choosing either (nor is that from circular padding, so these images decide little): the full blend
# was. Blending at some origins is continuous in these alone, and a tie at one that chooses is a jump as before.
#
# ### Other changes
#
# Other small changes: stronger noise, JPEG compression at quality 80, and 1% more brightness.

# %% tags=["measures"]
changed = measures.changed_rows(said)
for row in changed:
    run.record(**measured, stage="changes", **row)

# %%
fig = figures.changed_by(pd.DataFrame(changed), "Labels that change")
run.figure(fig, "changes")
fig

# %% [markdown]
# Under noise of all three levels the plain network changes fewest labels and MASS most, circular padding and blending
# lie between; under JPEG MASS changes about as many as circular padding. Only noise of two grey levels was tested
# (above).

# %% [markdown]
# ## The objections
#
# There are simpler ways to be exact. **Move the whole image** to a place of its own, and run the plain network, zero
# padding and all: by its brightest pixel, by its `seam` (notebook 06), by its centre of mass on the torus, or by the
# highest peak after a blur. **Average over all phases** of the last origin instead of choosing. **Choose by a peak** of
# the blurred map (Xu et al., 2021) at every origin. And is it continuity that helps, or merely an average? A mean over
# as many *fixed* phases, the same for every image, is neither exact nor a blend: it is the control.

# %% tags=["measures"]
sample = normalize(next(iter(batches))[0])
members = max(2, round(networks.paths_of(blended, sample)))
ways = networks.objections(four, x, settings.share, members, seed)
asked_of_ways = answers.SHIFTS | {name: answers.CHANGES[name] for name in ("noise 2", answers.ONE_LEVEL)}
said |= kept.asked(ways, batches, normalize, asked_of_ways, seed)

# %% tags=["measures"]
for row in measures.paired_ways(said, ways):
    run.record(**measured, **row)

# %% tags=["measures"]
table = measures.ways(said, four | ways, sample[:4])
for row in table:
    run.record(**measured, stage="ways", **row)
pd.DataFrame(table).set_index("method").round(2)

# %%
fig = figures.stability_against(pd.DataFrame(table), "Accuracy and stability")
run.figure(fig, "ways")
fig

# %% [markdown]
# Of what is exact, moving the whole image by its seam lies nearest to the plain network in both. The other three places
# are the least accurate. As published, on the most images, with what each costs in one run:

# %%
Markdown(tables.stability(run.root))

# %% [markdown]
# Blending pays for its paths (columns *Paths*, *Time*, *Memory*), a mean over fixed phases in time; moving the whole
# image costs up to twice the plain network's time. Blending and choosing, pair by pair:

# %%
Markdown(tables.blending(run.root))

# %% [markdown]
# Blending is told apart from choosing in what noise changes, and not in accuracy. The other ways against choosing:

# %%
Markdown(tables.ways_paired(run.root))

# %% [markdown]
# A mean over as many fixed phases changes about as few labels (not told apart from blending), which suggests that under
# noise the average does the work. That mean is not exact; blending is the average that is.
#
# A small network, the published ResNet-20 of CIFAR-10:

# %%
Markdown(run.published("stability_cifar10"))

# %% [markdown]
# What the rows say of each objection:
#
# * *Move the whole image, then run the plain network* (rows *whole image, …*): exact at about the plain network's
#   memory and 1.1 to 1.8 times its time, by how the place is found. By the seam it is the better way on photographs
#   that were shifted circularly: it is nearly as accurate as the plain network (not tested), and noise changes fewer
#   labels than with MASS, beyond chance. By the brightest pixel and the blurred peak accuracy falls, beyond chance; by
#   the centre of mass it is not told apart. And where a place moves it moves far: under one grey level logits jump
#   farther than MASS's do, but for the centre of mass. Why lattices, then? A seam is an artefact of shifting a
#   photograph circularly: a scene that is periodic, or lies before a plain ground, has none (notebook 06), and a
#   lattice moves a map by less than a stride.
# * *Average over all phases of the last origin*: the cheapest average of MobileNetV2; on the small network, above,
#   dearer than blending. Earlier origins choose as before, so it is exact and not continuous, and under noise it is not
#   told apart from choosing.
# * *Choose by a peak* (row *origins at peaks*): as exact; not told apart from l2, and its largest jump is larger.
# * *Read features of another depth* (rows *origins read … earlier*): as exact; more of it below.
# * *A mean over fixed phases would do*: under noise it is steadier than choosing, beyond chance, and not told apart
#   from blending; it is not exact.
# * *It is the borders, not the choice*: *circular padding* has these borders and chooses nothing. In the table of tuned
#   networks origins are frozen to those of the clean image.
# * *Transformers had the same rule before* (PolyViT): notebook 02 says what differs.

# %% [markdown]
# ### Features of another depth
#
# An origin is read off the map that is sampled. The maps before it have the same lattice and would do: the rows
# *origins read … earlier* are the same network, and as exact. It matters where a LayerNorm stands before the sampling,
# as in ConvNeXt: behind it every position has nearly the same energy (notebook 03), and the choice is arbitrary.

# %%
Markdown(run.published("stability_before_the_norm"))

# %% [markdown]
# ## Does training bring stability back?
#
# The ResNet-20 of CIFAR-10 is tuned from its published weights, a hundred steps, as each of the four networks, and
# once more with noise of two grey levels on its training images. Exactness is not at stake: it holds for all weights
# (notebook 07). What was tuned as MASS, which chooses, can be *used* blended; training costs nothing extra then. The
# rate is the best of three on training images that were kept apart.

# %%
fig = figures.tuned(bench_tables.tuned_records(run.root), "The published ResNet-20 of CIFAR-10, tuned")
run.figure(fig, "tuned")
fig

# %% [markdown]
# Training brings most of the stability back, at a consistency of 100%; accuracy stays below the plain network's.

# %%
Markdown(run.published("stability_tuned"))

# %% [markdown]
# With origins frozen to the clean image's most of the changes stay, before tuning and after: the borders' share is
# larger than that of the choice (not tested here).

# %%
Markdown(run.published("stability_tuned_paired"))

# %% [markdown]
# After a hundred steps fewer labels change than before, beyond chance, with circular padding, MASS and blending alike.
# Blended it is not told apart from the plain network that took the same steps (the interval leaves room for more
# changes, not for fewer). Noise in training changes nothing that could be told. Training with blending ends near where
# blending afterwards does (not tested).
#
# MobileNetV2, tuned as in notebook 07 on half of the images at hand, a network that its few hundred images barely move.
# How much of what noise changes is the borders' doing, and how much the choice's? With the origins frozen to the clean
# image's, the choice can do nothing:

# %%
Markdown(run.published("stability_tuned_mobilenet"))

# %% [markdown]
# Before tuning, freezing takes away about half of what MASS changes more than the plain network, beyond chance, and
# leaves about as many changes as circular padding has. After the few steps of notebook 07 it points the same way,
# within chance.

# %%
Markdown(run.published("stability_tuned_mobilenet_paired"))

# %% [markdown]
# The tuning itself, with noise or without, changes nothing that could be told here. And tuned blended, every path of
# every image in each step:

# %%
Markdown(run.published("stability_tuned_blended"))

# %% [markdown]
# It ends where blending afterwards ends (not tested).

# %%
Markdown(run.published("stability_tuned_blended_paired"))

# %% [markdown]
# It is not told apart from the plain network that took the same steps; the interval leaves room for three points more.

# %% [markdown]
# ## Dense outputs
#
# A segmentation network has an output for every pixel, and blending averages maps that were moved back. DeepLabV3+ is
# trained plain for a short while, so that its masks are poor, then converted:

# %%
Markdown(run.published("stability_masks"))

# %% [markdown]
# Under a shift the exact networks change no pixel, blended or not. Blending costs more than in a classifier: every path
# goes through the decoder, at the size that it has there.

# %%
Markdown(run.published("stability_masks_paired"))

# %% [markdown]
# Under noise blending points the same way as with labels, but on so few images no pair is told apart once corrected.

# %% [markdown]
# ## Try this
#
# What are the weights for energies 1, 0.998 and 0.5 with $\beta = 0.005$? What do they become as $\beta$ goes to 0, and
# at $\beta = 1$?
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
#
# energies = torch.tensor([1.0, 0.998, 0.5])
# for beta in (0.005, 1e-6, 1.0):
#     weights = (energies - (1 - beta) * energies.max()).clamp(min=0)
#     print(beta, weights / weights.sum())
# ```
#
# 5 to 3 for the two that nearly tie, nothing for the third; a choice; and all three, by their energies.
#
# </details>

# %% [markdown]
# ## Summary
#
# * **Choosing an origin is discontinuous; blending is exact and continuous**, except where more than 8 paths tie
#   exactly: its largest step falls with the step, where that of a choice stays.
# * **Under noise blending takes back what choosing adds**, beyond chance, and is not told apart from circular padding
#   alone. It does not reach the plain network. An average that is not exact does as well (not told apart).
# * **Its price is its paths**: more than five times the plain network's time; less than three times where paths fork
#   late, but there nothing is told apart. In a dense network every path pays for the decoder too.
# * **Training brings most of the stability back** on the small network, at a consistency of 100%, with a choice and
#   blended alike; on MobileNetV2 the few steps that were taken change nothing that could be told.
# * **The borders' share is as large as that of the choice, or larger**: with origins frozen about half of what MASS
#   changes more than the plain network stays on MobileNetV2, and most of it on the small network.
# * **Moving the whole image to a place of its own is exact for less** as long as the place holds: the seam serves
#   photographs that were shifted circularly, and there it is the more accurate (within chance, corrected) and the
#   steadier (beyond it) than MASS. Three of the four places jump farther under one grey level than MASS does.
#
# Single logits stay nervous. It was hoped that the largest change under one grey level would fall to a fifth: on the
# small network it falls, tuned and used blended, but not that far; on MobileNetV2 it falls by less, for the plain
# network's own is nearly two thirds of it.
