"""What the benchmarks measure on: published texts, and checkpoints with random weights."""
