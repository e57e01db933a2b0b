"""Notebook 06: published weights in converted networks, without training."""
