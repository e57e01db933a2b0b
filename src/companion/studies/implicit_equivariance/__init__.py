"""Notebook 10: implicit equivariance (Khetan et al., 2021), as a system of its own and over MASS."""
