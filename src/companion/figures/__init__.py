"""What more than one study draws, and the look of all figures."""
