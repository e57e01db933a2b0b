"""Networks, and the methods that make them equivariant or nearly so."""
