"""What the paper states: its printed values, its sentences, its errata."""
