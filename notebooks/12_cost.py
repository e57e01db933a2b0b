# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Cost: what exactness takes in time and memory
#
# The paper calls the increase in time marginal. MASS adds no parameter and no convolution. It adds passes over maps: to
# choose an origin, to move a map there, to wrap its borders. Passes cost bytes, and bytes can be counted before
# anything is timed. With $M$ the bytes of a map and $B$ the bytes that a copy moves in a second (it reads and writes),
# the least that a part can take is
#
# $$t_{\text{select}} \ge \frac{M}{B}, \qquad t_{\text{border}} \ge \frac{2M}{B},
# \qquad t_{\text{shift and border}} \ge \frac{2M}{B},$$
#
# for a selection reads its map once, $E_k = \sum_n q(x)[s n + k]^2$ for all $k$ in one pass; a border is a copy, and a
# shift in front of it is where that copy starts to read. None of them depends on the stride.

# %% tags=["parameters"]
profile = "quick"

# %%
import pandas as pd

from companion.figures.style import use_style
from companion.pipeline.run import Run
from companion.studies.cost import figures, measurements
from companion.studies.cost.products import products
from mass import native

run = Run("12_cost", profile, device="cpu")
settings = run.settings
use_style()

# %% [markdown]
# ## One selection
#
# An exact energy needs the map's maximum first, then the squares. As a chain of PyTorch operators it is a dozen passes
# with a temporary each. Compiled, it is one reading, or two at worst: squares are added at the scale of what was
# largest so far, and if that rises, those before are added again; a scale is a power of two. A sum reads as much, a
# copy moves twice that. Before each of them another 128 MB are written, so that all find the map in memory, as in a
# network, and not in a cache.

# %%
shape = (settings.batch, 64, settings.size // 2, settings.size // 2)
energies = measurements.energy_pass(shape, settings.rounds)
for name, row in energies.iterrows():
    run.record(image="x".join(map(str, shape)), method=name, milliseconds=row["ms"], mb_per_ms=row["MB per ms"])
energies.round(2)

# %% [markdown]
# Selection uses compiled kernels where there is a C++ compiler; they are built once, in seconds, when first needed.
# Without one the first row is what it costs. The origins are the same either way.

# %%
"compiled kernels" if native.kernels() else "PyTorch alone"

# %% [markdown]
# ## A whole network: bytes counted, times measured
#
# Every part that conversion put into a network, with the bytes that it must move and the time that they take at the
# speed of a copy. A border that wraps is a copy of the map with a few rows more; a shift in front of it is done in the
# same copy. Max pooling and depthwise convolution do not appear: they read the map where it lies.

# %%
tables = {name: measurements.parts(name, settings.size, settings.batch, settings.rounds) for name in settings.networks}
for name, table in tables.items():
    for part, row in table.iterrows():
        facts = {"net": name, "method": part, "size": settings.size, "batch": settings.batch}
        run.record(stage="parts", **facts, **row.rename(lambda column: column.replace(" ", "_")))
pd.concat(tables, names=["network"]).round(2)

# %%
fig = figures.predicted_and_measured(tables)
run.figure(fig, "predicted_and_measured")
fig

# %% [markdown]
# Bytes are a lower bound. Parts lie above it: calls, short rows and a selection's second reading cost time as well.
# (One whose map is still in the cache, which the copy that gives the speed was too large for, could lie below.) How far
# above, over the parts of all networks:

# %%
over = pd.concat([table["measured ms"] / table["predicted ms"] for table in tables.values()])
over.agg(["min", "median", "max"]).round(2).to_frame("measured / predicted").T

# %% [markdown]
# ## What each change bought
#
# Forward time over the plain network's, all in one run: first with PyTorch's operators alone, then with one compiled
# kernel more at a time. Circular padding alone (a fixed grid, all kernels) is the floor: whatever wraps pays
# it.

# %%
found = [measurements.changes(name, settings.size, settings.batch, settings.rounds) for name in settings.networks]
changes = pd.DataFrame([row for of_network in found for row in of_network])
for row in changes.to_dict("records"):
    run.record(size=settings.size, batch=settings.batch, **row)
changes.pivot_table(index="net", columns="method", values="ratio", sort=False).round(2)

# %%
fig = figures.after_each_change(changes)
run.figure(fig, "after_each_change")
fig

# %% [markdown]
# Pooling can fall below the plain network's own: PyTorch's float32 max pooling of maps with channels first is no vector
# code.
#
# ## What zero padding leaves out
#
# A product with a zero of the border need not be computed, and oneDNN's convolutions skip it. A border that wraps has
# an image there. On a map of side $n$ a 3 x 3 convolution has $9n^2$ products a pair of channels, $(3n - 2)^2$ of them
# inside the map: at 7 x 7, wrapping has a fifth more. Where a library skips the others, and takes as long for each
# product, the ratio is what wrapping costs before anything is selected. In millions, an image:

# %%
counted = pd.DataFrame([products(name, settings.size) for name in settings.networks]).set_index("net")
counted.round(3)

# %% [markdown]
# ## How it grows
#
# Bytes grow with the area and with the batch, and not with the stride: the energies of 256 phases are the same
# readings.

# %%
growth = measurements.growth(settings.sides, settings.batches, settings.strides, settings.rounds)
for row in growth.to_dict("records"):
    run.record(stage="growth", method="selection and shift", image=f"{row['axis']} {row['n']}", **row)
fig = figures.growing(growth)
run.figure(fig, "growth")
fig

# %%
growth["measured / predicted"] = growth["measured"] / growth["predicted"]
growth.pivot_table(index="axis", values="measured / predicted", aggfunc=["min", "median", "max"]).round(2)

# %% [markdown]
# ## Try this
#
# How long must a selection on a map of 8 x 64 x 112 x 112 float32 values take at least, where a copy moves 20 gigabytes
# in a second?
#
# <details><summary>Solution</summary>
#
# ```python
# M = 8 * 64 * 112 * 112 * 4  # bytes
# print(M / 1e6, "MB,", 1e3 * M / 20e9, "ms")
# ```
#
# 1.3 milliseconds for 26 MB. Compare with what the first table says of your machine.
#
# </details>

# %% [markdown]
# ## Summary
#
# * Exactness costs one to two readings per selection and one copy per border, a shift rides along. Bytes bound the time
#   from below; what is measured is above by the factors of the table.
# * A selection takes longer than a sum of its map; on the first maps of a network at its usual size, less long than a
#   copy.
# * Measured against published networks, with spreads, peers and memory: `make bench`, the tables in docs/results.md.
#   What must not creep back is asserted in tests that need no quiet machine (`tests/test_cost.py`): kernels, bytes,
#   graph breaks.
# * A border that wraps has products that zero padding leaves out: a few per cent of a network with 3 x 3 windows on
#   small maps, next to none of one with 1 x 1 convolutions.
# * On a GPU selection, padding and small depthwise convolutions are Triton kernels. Compiled beside a compiled plain
#   network MASS takes 1.1 to 1.3 times the time there, circular borders alone 1.05 to 1.09, more if neither is
#   compiled (docs/results.md): more than marginal.
