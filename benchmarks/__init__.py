"""What the two packages are measured with: `python -m benchmarks` times them, `python -m benchmarks.train` trains."""
