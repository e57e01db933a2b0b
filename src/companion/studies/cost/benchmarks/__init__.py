"""Times beside the plain network, on the CPU and on a GPU."""
