"""One file per model family behind one protocol; frameworks are imported inside functions."""
