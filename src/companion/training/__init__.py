"""Training, from a seed to weights."""
