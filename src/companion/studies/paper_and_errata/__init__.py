"""Notebook 13: the paper's tables and figures beside ours."""
