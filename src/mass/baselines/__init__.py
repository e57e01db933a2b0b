"""The methods MASS is compared with, re-implemented from their papers (each says where it departs from its authors' code)."""

from .aps import APS, convert_to_aps

__all__ = ["APS", "convert_to_aps"]
