"""Bytes to objects and back: requests, results, functions, bundles, frames."""
