# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The paper beside this companion, and its errata
#
# This is an independent reproduction of *MASS: Model-Agnostic Shift-Equivariant Downsampling*, an anonymous submission
# (ICLR 2024, no. 9459). Here its tables and figures stand beside ours. Three rules:
#
# 1. **Ours come from `results/` only**: published records, each with its seed, machine and commit. What has no record
#    is *not run*.
# 2. **A number from a smaller run never stands beside one of the paper's.** Such runs have a table of their own.
# 3. **What is lost stays empty.** The copy at hand has lost the bodies of Tables 3, 4 and 5. What its text says of them
#    is quoted.

# %% tags=["parameters"]
profile = "quick"

# %%
from companion.core.paths import find_root
from companion.figures.style import use_style
from companion.paper.errata import FORMULAS, NUMBERS, SENTENCES, UNSTATED
from companion.pipeline.run import Run
from companion.studies.paper_and_errata import beside

run = Run("13_paper_and_errata", profile)
root = find_root()
use_style()

# %% [markdown]
# ## Table 2: CIFAR-10
#
# Accuracy and circular consistency in percent, mean ± standard deviation over five runs (ours: number of runs in
# brackets). *Reproduced* means that the two means differ by at most twice the standard error of their difference; 100%
# has to hold in every run. A question mark: the printed value is in doubt (see the errata).

# %%
beside.table_2(root)

# %% [markdown]
# What was trained for fewer epochs is to be compared with each other only (notebook 05):

# %%
beside.fewer_epochs(root)

# %% [markdown]
# The printed accuracies as a figure. The dotted line is plain MASS:

# %%
fig = beside.accuracies()
run.figure(fig, "table_2")
fig

# %% [markdown]
# Two things can be read off it. With the same filter, MASS is above APS and above the network without either, in both
# networks; that is the paper's point, and it holds in all six comparisons (over APS on ResNet-20 by about one standard
# deviation or less). But it is not above *every* other row. These are above plain MASS:

# %%
beside.above("MASS")

# %% [markdown]
# And the gains over the baseline, in percentage points, of which the text quotes the last row as 'our method':

# %%
beside.printed_gains()

# %% [markdown]
# ## Tables 3, 4 and 5: what the text says
#
# Weight transfer (3), fine-tuning (4) and segmentation (5). A promise (100%) is refuted by one counter-example at any
# scale, and confirmed only at the paper's.

# %%
beside.statements(root)

# %% [markdown]
# What was measured at a smaller scale: fewer images, of an easier set, so these rows are to be compared with each other
# only.

# %%
beside.smaller_runs(root)

# %% [markdown]
# Table 5, trained for fewer iterations on a part of PASCAL VOC (notebook 08):

# %%
beside.fewer_iterations(root)

# %% [markdown]
# ## Figures 1 to 4
#
# The paper's are drawings; ours are computed (notebooks 02, 03 and 04). **Figure 1**, the three steps: select, shift,
# apply.

# %%
beside.figure(root, 1)

# %% [markdown]
# **Figure 2**, max pooling, polyphase sampling and MASS on a map of two channels:

# %%
beside.figure(root, 2)

# %% [markdown]
# **Figure 3**, weight transfer: zero padding becomes circular, strided layers are aligned, branches share their origin.

# %%
beside.figure(root, 3)

# %% [markdown]
# **Figure 4**, upsampling with the origins of the way down:

# %%
beside.figure(root, 4)

# %% [markdown]
# ## Errata
#
# Kindly meant: none of them touches the idea, and a preprint under review has the right to its slips. A dot marks those
# that matter to whoever implements or quotes the paper. **Numbers:**

# %%
beside.errata(NUMBERS)

# %% [markdown]
# **Formulas:**

# %%
beside.errata(FORMULAS)

# %% [markdown]
# **Sentences:**

# %%
beside.errata(SENTENCES)

# %% [markdown]
# ## What is not stated
#
# A reproduction has to choose, and says what it chose:

# %%
beside.unstated(UNSTATED)

# %% [markdown]
# ## Summary
#
# * In Table 2, MASS is above APS at equal filters in all six comparisons; the sentence that it is above everything is
#   too strong.
# * The gains quoted as those of 'our method' are those of its variant with a learned filter.
# * For code, four errata matter most: the origin set ends at $s - 1$; the origin moves with the image; eq. 5 compares
#   aligned *predictions*; branches that meet must share an origin.
# * What is marked *not run* is not known to hold here, and not known to fail.
