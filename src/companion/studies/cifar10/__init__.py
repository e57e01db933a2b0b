"""Notebook 05: networks trained with every method of Table 2."""
