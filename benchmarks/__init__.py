"""Benchmarks of quality, speed, memory and size, as programs: `python -m benchmarks.throughput --help`."""
