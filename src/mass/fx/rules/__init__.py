"""Rules, by kind of operation: what each one does to a lattice, and what stands for it in a converted network."""
