"""Pages for people over `penstock.control`: plain HTML, no script, no asset from elsewhere."""
