"""What more than one study measures: accuracy, margins, origins, times."""
