"""Notebook 01: why networks are not invariant."""
