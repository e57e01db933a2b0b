"""What is measured of a model: certificates (`certify`), and consistency by the protocols of papers (`consistency`)."""
