"""The way of a model through conversion, by `torch.fx`; each step is a module.

`trace` (with `size_guards` and `interpreter`) -> `infer` (with `lattice`, `rule`, `rules`, giving a `plan`) -> `rewrite`
-> `fuse` -> `verify`. `convert` walks it; `explain` stops after `infer` and prints the plan.
"""
