"""The networks of implicit equivariance (seed 002), beside which a steerable one stands."""
