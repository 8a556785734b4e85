"""Keeps versions running and answers calls with them. Never imports the flow runtime."""
