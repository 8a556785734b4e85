"""A server worth looking at: real models on scikit-learn's data, several versions, traffic.

`docs/screenshots.py` takes pictures of it; `python -m showcase` in `docs/` keeps one running.
"""
