"""Compare a bundle's graphs with a reference, and reject those that are too far from it.

Where to start reading: ``checks`` verifies an export or a bundle. ``find_reference`` chooses the graph to compare with,
``measure`` and ``measure_scores`` compute the figures on the texts in ``passages``, and ``floors`` says how good they
must be.
"""
