"""torchvision's detectors made equivariant: `converting`, `explaining` and `certifying` a family of its own.

`detector` is what a conversion returns, `images` its way in; `one_stage` and `two_stage`, what follows its dense part.
"""
