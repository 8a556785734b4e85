"""Modules that use a model library once when they are imported. Imported by zygotes, see `PRELOAD`.

Libraries build tables and compile code at their first use. What a zygote has built, every process
forked from it has too, and a version that wakes answers sooner. None may leave a thread behind.
"""
