"""What a Python environment holds, and what functions import."""
