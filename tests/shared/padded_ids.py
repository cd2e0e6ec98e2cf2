"""Padded token ids as inputs of a graph."""

import numpy as np
from numpy.typing import NDArray


def padded(lengths: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random ids, padded with 1 on the right, and their mask. The first text contains a padding token."""
    ids = np.random.default_rng(0).integers(4, 400, (len(lengths), max(lengths)))
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids[0, 1] = 1
    return np.where(mask == 1, ids, 1), mask
