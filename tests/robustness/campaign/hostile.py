"""Unusual texts: nobody writes them by hand, but programs receive them."""

from collections.abc import Callable, Sequence
from random import Random

_WORDS = "the a cat dog sat on mat and ran far away over blue river stone bread bake how do i".split()
_ODD = (
    *("\0", "\x01", "\x0b", "\x1b", "\x7f", "\x85", "\xa0", "\xad", "\u0300", "\u0301", "\u200b", "\u200d", "\u2028"),
    *("\u202e", "\u2066", "\ufeff", "\ufffd", "\uffff", "\ue000", "\U0001f469", "\U000e0041", "\U0010ffff", "İ", "ß"),
    *("ﬁ", "가", "각", "ก็", "नि", "ش", "א", "東", "𠀀", "㐀", "한", "é", "e\u0301", "Å", "½", "①"),
    *("[MASK]", "[CLS]", "[PAD]", "[UNK]", "<mask>", "<s>", "</s>", "##s", "▁", "Ġ", "[", "]", "<", "'", '"', "\\"),
    *(" ", "  ", "\t", "\r\n", "\n", "\u3000", ".", "...", "-", "_", "$", "!", "。", "？"),
)


def _character(random: Random) -> str:
    """A character of any plane, but no surrogate."""
    code = random.choice((random.randrange(0x80), random.randrange(0x3000), random.randrange(0x110000)))
    return chr(code) if not 0xD800 <= code < 0xE000 else "?"


def _noise(random: Random) -> str:
    return "".join(_character(random) for _ in range(random.choice((1, 2, 5, 40, 400))))


def _odd(random: Random) -> str:
    return "".join(random.choice((*_ODD, *_WORDS)) for _ in range(random.choice((1, 3, 12, 100))))


def _words(random: Random) -> str:
    return " ".join(random.choice((*_WORDS, random.choice(_ODD))) for _ in range(random.choice((1, 4, 30, 200))))


def _endless(random: Random) -> str:
    return random.choice(("a", ".", "-", "é", "я", "ش", "नि", "한", "東", "e\u0301", "ab", "[MASK]")) * random.choice(
        (64, 500, 3000)
    )


def _flood(random: Random) -> str:
    return random.choice(_WORDS) + random.choice("\u0300\u0301\u0489\u20dd") * random.choice((1, 50, 2000))


def _single(random: Random) -> str:
    return random.choice((random.choice(_ODD), _character(random), "", " "))


def surrogate(random: Random) -> str:
    """A text with a lone surrogate, which is invalid Unicode."""
    text = _words(random)
    position = random.randrange(len(text) + 1)
    return text[:position] + chr(random.randrange(0xD800, 0xE000)) + text[position:]


_KINDS: Sequence[Callable[[Random], str]] = (_noise, _odd, _odd, _words, _words, _endless, _flood, _single)


def some_texts(random: Random, count: int) -> list[str]:
    """``count`` texts of random kinds, all in valid Unicode."""
    return [random.choice(_KINDS)(random) for _ in range(count)]


def long_text(random: Random) -> str:
    """Some megabytes of repeated text: letters, minified JSON, base64, scripts without spaces, combining marks."""
    parts = (
        *(".", "a", "-", "\u0301", "東", "กข", "{\"a\":[1,2.5,null],", "QUJDRA+/", "я", "नि", "가", "ab. ", "[MASK]"),
        *("\n", "\0", "\ufeff", "😀", "▁", "a\u0301b", "x_y", "、", "\u200d", "http://a.b/c?d=e&"),
    )  # fmt: skip
    part = random.choice(parts)
    return part * (random.choice((200_000, 1_000_000, 8_000_000)) // len(part))
