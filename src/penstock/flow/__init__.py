"""The flow runtime: runs a flow's stages in this process."""
