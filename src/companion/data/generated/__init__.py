"""Images that are made here: awkward ones, scenes, periodic structures, sequences."""
