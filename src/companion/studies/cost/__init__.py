"""Notebook 12: what exactness costs."""
