"""What is measured of detectors: their average precision, their sets under shifts, their masks."""
