"""What networks are shown: photographs, hard images, data sets, corruptions."""
