"""Functions of tensors, one concept a module; nothing here knows of models or graphs.

- `origin`: which polyphase component to sample, read off the features. `polyphase`: the components.
- `shift`: circular shifts by an origin per image, and back. `padding`: borders that wrap.
- `kernels`: convolutions, linear layers and activations whose rounding does not depend on the position.
- `conv`, `conv_transpose`, `pooling`, `interpolate`: operations on windows that commute with circular shifts.
- `depthwise`: convolutions of every channel by a kernel of its own, where the kernel for them serves.
- `exact`: reductions that are bit-identical in any order. `loss`: losses of dense outputs by them.
- `derivatives`: whether `torch.func` takes derivatives, for which operators of one's own have no rule.
"""
