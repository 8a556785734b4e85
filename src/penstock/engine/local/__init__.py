"""The default engine: zygotes and forked worker processes on this machine."""
