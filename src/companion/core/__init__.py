"""What all else stands on: files, paths, processes, records, refusals."""
