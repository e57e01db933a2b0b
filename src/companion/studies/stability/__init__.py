"""Notebook 15: exact and stable; weighted frames, and the other ways to be exact."""
