"""Parts of notebook 11 that are worth a run of their own."""
