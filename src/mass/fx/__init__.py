"""The way of a model through conversion, by `torch.fx`; each step is a module or a folder.

`tracing` -> `infer` (with `lattice`, `rule`, `rules`, giving a `plan`) -> `rewrite` (with `outputs`, `heads`) -> `fuse` ->
`verification`, and out comes a `network`. `convert` walks it; `explain` stops after `infer` and prints the plan.
"""
