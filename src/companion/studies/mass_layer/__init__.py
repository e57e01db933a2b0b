"""Notebook 02: one layer, ties, rules."""
