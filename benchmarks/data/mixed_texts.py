"""Texts of mixed length, for programs that measure what mixed lengths cost."""

import random

_WORDS = ("the", "of", "bread", "cat", "river", "embedding", "search", "is", "query", "mountain", "a", "house", "seven")


def mixed_texts(count: int) -> list[str]:
    """Return texts of 5 to 60 words, the same ones each time."""
    draw = random.Random(0)
    return [" ".join(draw.choices(_WORDS, k=draw.randint(5, 60))) for _ in range(count)]
