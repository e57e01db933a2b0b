"""Data sets that others published, in the layout of their files."""
