"""The networks of implicit equivariance (Khetan et al., 2021), beside which a steerable one stands."""
