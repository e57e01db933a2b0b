"""Modules, one kind of layer a file: what layers become in a converted network, and layers to build networks from.

- `layers`: MASS layers to be used by hand (`MassConv2d`, `MassMaxPool2d`, …); `unpooling` has their way back.
- `conv`, `conv_transpose`, `pooling`, `padding`, `resize`: the layers of `torch.nn` with circular borders.
- `exact`, `pointwise`: reductions and pixelwise operations whose bits do not depend on the position.
- `graph`: what stands between layers in a converted network: origins chosen and composed, maps shifted and restored.
- `evaluating`: eval mode for a while. `blurpool`: a filter before a stride. `loss`: losses of dense outputs.
"""
