"""The census of the networks in use; it has no notebook."""
