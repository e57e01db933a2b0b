"""The article of `make article`: its numbers, its tables, and how it is set."""
