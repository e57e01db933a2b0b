"""What MASS is compared with, re-implemented on the same footing: circular borders, any network, no `.cuda()`."""

from mass.baselines.aps import APS, convert_to_aps
from mass.baselines.ddac import DDAC2d
from mass.baselines.flc import FLC, convert_to_flc
from mass.baselines.lps import LPS, PolyphaseScores, convert_to_lps
from mass.baselines.tips import TIPS, convert_to_tips
from mass.nn.blurpool import BlurPool

__all__ = [
    "APS",
    "FLC",
    "LPS",
    "TIPS",
    "BlurPool",
    "DDAC2d",
    "PolyphaseScores",
    "convert_to_aps",
    "convert_to_flc",
    "convert_to_lps",
    "convert_to_tips",
]
