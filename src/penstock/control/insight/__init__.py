"""What the server knows of the calls it answered: figures over time, kept runs, logs, metrics."""
