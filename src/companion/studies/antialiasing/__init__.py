"""Anti-aliased networks (seed 001), measured beside MASS: notebook 09."""
