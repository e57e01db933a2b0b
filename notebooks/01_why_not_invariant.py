# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why CNNs are not shift-invariant (paper, sections 2 and 3)
#
# Convolution commutes with shifts, so a convolutional network should recognise a thing wherever it is. It does not, and
# there are two causes: **sampling** (layers with a stride) and **borders** (zero padding). This notebook shows both,
# from the sampling theorem to a pretrained network, and measures how much each of them spoils.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd
import torch

import mass
from companion.data.images import photographs, temple_roofs
from companion.data.normalisation import normalize
from companion.figures.style import use_style
from companion.measures.signals import waves
from companion.models.pretrained import mobilenet_v2
from companion.pipeline.run import Run
from companion.studies.why_not_invariant import commute, figures, sampling

run = Run("01_why_not_invariant", profile)
use_style()

# %% [markdown]
# ## Two definitions
#
# A circular shift moves an image and lets what leaves on one side come back on the other, so that nothing is lost (eq.
# 1):
#
# $$S_{h,w}(x)[n, m] = x[(n + h) \bmod H,\ (m + w) \bmod W]$$

# %%
x = torch.arange(6.0).view(1, 1, 1, 6)
x.flatten(), mass.shift(x, torch.tensor((0, 1))).flatten()

# %% [markdown]
# An operation $f$ is **equivariant** when a shift of the input is a shift of the output (eq. 2),
#
# $$f(S(x)) = S'(f(x)),$$
#
# and **invariant** when the output does not change at all, $f(S(x)) = f(x)$: $S'$ is then the identity. One follows
# from the other: the average over all positions of an equivariant map is invariant, for a shift only changes the order
# of its terms. So all that matters is whether every layer before it is equivariant.
#
# An edge filter, in three versions, on an image and on the image moved by one pixel along both axes. The last column is
# what remains after the best shift $S'$ of the output, with its norm relative to $f(x)$:

# %%
grey = photographs(run.settings.small).mean(1, keepdim=True)[1:]  # (1, 1, H, W)
fig = figures.two_definitions(grey)
run.figure(fig, "two_definitions")
fig

# %% [markdown]
# * With circular padding the filter commutes with the shift: nothing remains.
# * Zero padding marks the border of the image's array, which does not move with the image: the **border** remains.
# * A stride of 2 leaves something at *every* edge in the image. That is **sampling**, and the rest of this notebook is
#   mostly about it.

# %% [markdown]
# ## The sampling theorem
#
# Samples determine a signal if it holds no frequency at or above half the sampling rate (Nyquist). Then it does not
# matter where sampling starts: each set of samples gives the same curve. Otherwise what lies above is folded
# back, is taken for a lower frequency (*aliasing*), and is added to what was there, with a sign that depends on where
# sampling started. (Of a wave at exactly half the rate, amplitude and phase cannot be told apart.)
#
# Below, 64 samples of a wave of 6 cycles; of these, every second is kept, the even ones or the odd ones. 32 samples can
# carry fewer than 16 cycles. In the second row a wave of 26 cycles is added, which folds back to 32 - 26 = 6.

# %%
signals = {"6 cycles": waves(64, {6: 1.0}), "6 and 26 cycles": waves(64, {6: 1.0, 26: 0.6})}
fig = figures.sampled_twice(signals)
run.figure(fig, "sampled_twice")
fig

# %% [markdown]
# Above, both halves of the samples give the same wave. Below, the even samples see an amplitude of 1 + 0.6 and the odd
# ones of 1 - 0.6: *the same signal, moved by one sample, looks four times as strong*. No layer behind can tell it from
# a stronger signal.

# %% [markdown]
# ## Max pooling
#
# Zhang (2019) gives an example of eight values. Max pooling gives 0 1 0 1 or, when the signal is moved by one, 1 1 1 1.
# It is two steps in one: a maximum at every position, which commutes with shifts, and sampling, which does not.

# %%
x = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1])
fig = figures.pooled_twice(x)
run.figure(fig, "pooled_twice")
fig

# %% [markdown]
# ## Polyphase components
#
# Sampling with stride $s$ keeps one of $s^2$ *polyphase components*, the one that starts at (0, 0); polyphase sampling
# (eq. 3) keeps the one that starts at $k^*$, however that was chosen:
#
# $$f_{PS}(x)[n, m] = x[s n + k^*_1,\ s m + k^*_2]$$
#
# A shift of the image by $t$ does not destroy the components: the one at $k$ becomes the one at $k - t \pmod s$. They
# change places (framed in one colour: the same pixels, up to a shift; see the norms).

# %%
fig = figures.polyphase_components(grey[..., 16:40, 16:40])
run.figure(fig, "polyphase_components")
fig

# %% [markdown]
# This is the whole idea of the methods that are exact. If the component is chosen by what it *holds*, not by where it
# starts, the same one is kept whatever the shift. Polyphase sampling does so with the output, MASS with the input
# (notebook 02).

# %% [markdown]
# ## Blur reduces it, and does not remove it
#
# The classical remedy is to blur before sampling. Binomial filters $\binom{N}{k} / 2^N$ are what BlurPool uses. A small
# network (random weights, three times convolution, ReLU, maximum and sampling by 2, then the average over all
# positions) is shown a photograph at all 64 shifts that its total stride of 8 = 2 x 2 x 2 can tell apart. How far do
# its outputs move (*residual*: their root mean square distance from their mean, in percent of it)?

# %%
small = photographs(run.settings.small)[1]  # (3, H, W)
residual = pd.DataFrame(sampling.residual_by_filter(small, [0, *run.settings.filters], run.settings.seeds))
mean = residual.groupby("size")["residual"].mean()
kept = pd.DataFrame(sampling.contrast_kept(small, run.settings.filters))
fig = figures.blur_curves(residual[residual["size"] > 0], kept, mean[0])
run.figure(fig, "blur")
fig

# %%
for size, value in mean.items():
    run.record(method="MASS" if size == 0 else "blur", period=2, size=size, dataset="photographs", n=64, residual=value)
mean.rename({0: "MASS", 1: "no blur"}).rename("residual, %").to_frame().map("{:.2g}".format).T

# %% [markdown]
# The first blur takes away most of it, the next ones less and less, and detail goes along with the error. It never ends
# at zero: a finite filter lets something through above Nyquist, and every ReLU and every maximum makes new high
# frequencies *behind* the filter. With MASS in the place of the blur, what remains is the rounding of float32.

# %% [markdown]
# ## Which layers commute with shifts?
#
# One layer of each kind, a photograph, a shift by one and by two pixels: how far is $f(S(x))$ from the *best*
# $S'(f(x))$? 0 is below a thousandth of a percent. In the last column a border of 4 positions is left out, so that zero
# padding cannot be felt.

# %%
errors = commute.layer_errors(commute.example_layers(), normalize(photographs(run.settings.small))[1:])
fig = figures.error_table(errors)
run.figure(fig, "layers")
fig

# %%
for layer, row in errors.iterrows():
    one, two, inside = row
    run.record(
        layer=layer, dataset="photographs", size=run.settings.small, one_pixel=one, two_pixels=two, inside=inside
    )

# %% [markdown]
# * What has no stride commutes, once its padding is circular: the paper's section 3. Zero padding is a matter of the
#   border only.
# * What has a stride commutes with shifts by its stride, and with no other. Averages and blurs suffer a little less
#   than maxima and strided convolutions, but they suffer: after a shift by one, a map of stride 2 would have to move by
#   *half* a position.
# * MASS layers commute with all shifts, at any stride.

# %% [markdown]
# ## In a real network, layer by layer
#
# MobileNetV2 with its official weights, on a photograph that moves along its rows; the distance of features after each
# block, again from the best $S'$. Three versions with the same weights: plain, which has both causes; circular padding,
# which has only the sampling; MASS, which has neither.

# %%
x = normalize(photographs(run.settings.size))[1:].to(run.device)  # (1, 3, H, W)
plain = mobilenet_v2().to(run.device)
models = {"plain": plain, "circular padding": mass.convert(plain, x, origin="zero"), "MASS": mass.convert(plain, x)}
names = commute.block_ends(plain)
shifts = [(0, t) for t in range(run.settings.max_shift + 1)]
found = pd.DataFrame(commute.feature_distances(models, names, x, shifts))

# %%
fig = figures.distances_by_depth(found)
run.figure(fig, "by_depth")
fig

# %% [markdown]
# * Left, one pixel: plain and circular padding lie close together, so that most of what is lost here is lost by
#   **sampling**. It is there after the first strided layer and never goes away.
# * Right, a shift by the stride, after which the layer samples the same positions of the image again: with circular
#   padding nothing remains (its line lies under that of MASS). So what the plain network still loses is lost at the
#   **border** alone.
# * MASS is zero on both sides. Which cause is the larger the two sides do not say, for the shifts are not the same.

# %%
shown = found[found["layer"].isin([f"features.{k}" for k in ("0.2", "3.conv.3", "6.conv.3", "13.conv.3", "18.2")])]
fig = figures.distances_by_shift(shown)
run.figure(fig, "by_shift")
fig

# %% [markdown]
# The same over all shifts from 0 to 32, for five blocks. Behind a total stride of $S$ (the product of the strides so
# far) the network with circular padding is exactly equivariant to shifts by multiples of $S$ and to no others: its line
# comes down to zero every $S$ pixels. At the end $S = 32$: of the 32 shifts by 0 … 31, only the one that moves nothing
# is harmless.

# %% [markdown]
# Which cause is the larger, then? The border alone can be measured only at multiples of the total stride, sampling only
# at other shifts. At the last block, over shifts along rows, along columns and along both, of four
# images (the two photographs, the temple's roofs, a mirrored flower): sampling alone (circular padding), the border
# alone (the plain network, moved by multiples of 32), both (the plain network, moved by anything else).

# %%
few = torch.stack([*photographs(run.settings.size), temple_roofs(), photographs(run.settings.size)[1].flip(2)])
ways = [(0, 1), (1, 0), (1, 1)]
by = [(t * i, t * j) for t in (1, 4, 8, 15, 16, 24, 32, 64, 96) for i, j in ways]
rows = pd.DataFrame(
    commute.causes({m: models[m] for m in ("plain", "circular padding")}, names[-1], normalize(few).to(run.device), by)
)
table = rows.groupby("cause")["distance"].describe()[["count", "mean", "min", "max"]]
for cause, row in table.iterrows():
    run.record(model="mobilenet_v2", dataset="photographs", layer=names[-1], stage=f"cause: {cause}", n=len(few),
               shifts=len(by), mean_distance=row["mean"], lowest=row["min"], highest=row["max"])  # fmt: skip
table.round(1)

# %% [markdown]
# Distances in percent, and `count` is images times shifts. The means do not decide it: the border's are of shifts by
# 32, 64 and 96, the others' of shifts by 24 or less, which is why the border alone can be above both together. The
# ranges overlap widely, and four images say nothing of others; in these, neither cause is ever small.

# %%
for row in found[found["shift"].isin([1]) | (found["shift"] == found["stride"])].itertuples():
    run.record(model="mobilenet_v2", method=row.method, dataset="photographs", layer=row.layer,
               stage=f"shift {row.shift}", size=run.settings.size, stride=row.stride,
               feature_distance=row.distance)  # fmt: skip

# %% [markdown]
# ## What data augmentation can do, and cannot
#
# Training on shifted images teaches a network to give them one answer, and on images like those it was trained on, it
# helps. The paper's objection is that it "only works on in-distribution data, and does not guarantee shift equivariance
# in out-of-distribution data". The figures above say why: the layers that lose the information stay as they are, and
# the weights learn to make up for it *on the images they saw*. Nothing holds them to it elsewhere: on another camera,
# another defect, a rare class. MobileNetV2 above *was* trained on random crops.
#
# An architecture that is equivariant has nothing to learn here: what holds for one image holds for all.

# %% [markdown]
# ## Try this
#
# Average pooling throws nothing away. Does it commute with a shift by one? Find a signal of eight values that answers
# it.
#
# <details><summary>Solution</summary>
#
# ```python
# import torch
#
# pool = torch.nn.AvgPool1d(2)
# x = torch.tensor([[1.0, 1, 0, 0, 1, 1, 0, 0]])
# print(pool(x), pool(x.roll(-1)))
# ```
#
# 1 0 1 0, and one half everywhere: no shift of the first is the second. An average is a filter, and then it samples,
# too.
#
# </details>

# %% [markdown]
# ## Summary
#
# * Convolutions with circular padding, pointwise layers and normalisation commute with shifts. Sampling and zero
#   padding do not.
# * Sampling keeps one polyphase component of $s^2$, and a shift changes which. What lies above Nyquist makes them
#   differ.
# * Blur makes them more alike, at the price of detail; it cannot make them equal.
# * In a pretrained network both sampling and borders spoil much. Removing one of the two is not enough.
#
# Next: **02** the MASS layer, which chooses the component by what it holds.
