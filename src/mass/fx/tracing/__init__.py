"""A model as a graph: what records it (`trace`), what it is handed instead of tensors (`symbols`), what it decides by sizes
(`size_guards`), and the example that it is recorded with (`example`)."""
