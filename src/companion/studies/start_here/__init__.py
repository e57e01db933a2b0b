"""Notebook 00: one network, one image moved around."""
