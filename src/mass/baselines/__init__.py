"""What MASS is compared with, re-implemented on the same footing: circular borders, any network, no `.cuda()`."""

from mass.baselines.aps import APS, convert_to_aps
from mass.baselines.blurpool import BlurPool2d
from mass.baselines.ddac import DDAC2d
from mass.baselines.lps import LPS, PolyphaseScores, convert_to_lps

__all__ = ["APS", "LPS", "BlurPool2d", "DDAC2d", "PolyphaseScores", "convert_to_aps", "convert_to_lps"]
