"""Notebook 11: periodic structures with defects, and a camera that is never quite in its place."""
