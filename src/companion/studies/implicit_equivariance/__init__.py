"""Notebook 10: implicit equivariance (seed 002), as a system of its own and over MASS."""
