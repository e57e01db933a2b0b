"""Notebook 03: whole networks."""
