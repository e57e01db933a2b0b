"""Notebook 14: detection; boxes that move along with their image, and whose do not."""
