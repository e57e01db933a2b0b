"""Constants of the finaliser of splitmix64 (Steele et al., 2014), shared by the hashes of every device."""

from __future__ import annotations

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # odd constants of splitmix64, as signed 64-bit integers
MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
MIX_2 = 0x94D049BB133111EB - (1 << 64)
