"""Modules, one kind of layer a file: what layers become in a converted network, and layers to build networks from.

- `layers`: MASS layers to be used by hand (`MassConv2d`, `MassMaxPool2d`, …); `unpooling` has their way back.
- `conv`, `conv_transpose`, `pooling`, `padding`, `resize`: the layers of `torch.nn` with circular borders.
- `exact`, `pointwise`: reductions and pixelwise operations whose bits do not depend on the position.
- `alignment`: choosing and composing origins, shifting and restoring maps: the nodes `mass_…` of a converted network.
- `guards`: what a model decided by the size of its example must stay decided so. `evaluating`: eval mode for a while.
"""
