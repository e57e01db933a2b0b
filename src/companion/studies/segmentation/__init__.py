"""Notebook 08: DeepLabV3+ trained with several ways of downsampling."""
