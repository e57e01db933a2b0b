"""Circuit boards: defects told from a template and the board that is tested, the two apart by more and more."""
