"""What stands between the layers of a converted network: the nodes `mass_…` of its graph.

- `entrance`: the door. `alignment`: choosing and composing origins, shifting and restoring maps; `depth`: the same of volumes.
- `guards`: what a model decided by the size of its example must stay decided so. `structure`: what tensors are returned in.
"""
