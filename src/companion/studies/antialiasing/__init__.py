"""Anti-aliased networks (Zhang, 2019), measured beside MASS: notebook 09."""
