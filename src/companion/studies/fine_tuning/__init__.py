"""Notebook 07: converted networks, fine-tuned for a few epochs."""
