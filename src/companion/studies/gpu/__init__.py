"""What a piece of GPU time is used for: `python -m companion.studies.gpu`."""
