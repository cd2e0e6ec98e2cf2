"""Compare a bundle's graphs with a reference, and reject those that are too far from it."""
