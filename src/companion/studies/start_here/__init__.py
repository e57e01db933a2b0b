"""Notebook 00: one network, one picture moved around."""
