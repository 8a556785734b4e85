"""What keeps a worker process within its own folders: Landlock, seccomp, limits, users."""
