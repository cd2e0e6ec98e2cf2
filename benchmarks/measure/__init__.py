"""How the benchmarks measure: comparisons between processes, timed graphs, and scores of vectors."""
