"""Notebook 04: decoders."""
