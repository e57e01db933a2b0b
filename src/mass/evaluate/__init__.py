"""What is measured of a model: certificates (`certify`), consistency by the protocols of papers (`consistency`), the origins it
chooses (`record_origins`), and where its outputs lie (`output_origins`)."""
