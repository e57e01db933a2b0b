"""Segmentation architectures, at length."""
