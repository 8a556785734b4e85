"""State: small protocols and their implementations."""
