"""The client library: deploy a flow and call it."""
