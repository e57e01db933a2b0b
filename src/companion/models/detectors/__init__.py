"""Small detectors: one that is trained here, and FastestDet with its published weights."""
