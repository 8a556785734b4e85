"""The HTTP front: predict calls inline, everything else through the Starlette app."""
