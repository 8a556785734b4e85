"""Use cases in plain Python: no HTTP, no files, no processes of its own."""
