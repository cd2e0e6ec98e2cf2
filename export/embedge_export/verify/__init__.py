"""Compare a bundle's graphs with a reference, and reject those that are too far from it.

Where to start reading: ``checks`` verifies an export or a bundle. ``find_reference`` chooses what to compare with and
computes its results, ``measure`` and ``measure_scores`` compute the figures on the texts in ``passages``, ``floors``
says how good they must be, and ``mend`` raises the quality of an int8 graph that is below.
"""
