"""What the pipeline costs, measured; `python -m benchmarks.NAME` prints a table."""
