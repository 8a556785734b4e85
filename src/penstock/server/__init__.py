"""HTTP: reads requests, calls the use cases, writes answers."""
