"""Where a long text can be cut before it is tokenised, without changing a token in front of the cut, or behind it."""

import re
import string
from collections.abc import Sequence

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from embedge.inference.tokenizer_file import raise_ours

# BERT's normaliser makes a space of each of these and its pre-tokeniser ends a word there, whatever stands around it:
# no accent reaches over white space. An ideograph gets a space on both sides, so one may start the rest as well.
# (Other white space does not count: of U+000B, say, the normaliser leaves nothing, and the words around it are one.)
_BERT_SPACES = " \t\n\r"
_BERT_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff"
# Elsewhere, for one of these between two letters or digits, where the probes below have found that it ends a word.
_SPACES = (" ", "\t", "\n", "\r")
# Letters that no grapheme joins to white space before them and no normalisation composes with it: in Unicode's tables
# (GraphemeBreakProperty.txt) none is of the kinds Extend, SpacingMark or Prepend. Latin, Greek, Cyrillic, Armenian,
# Hebrew, Arabic, Devanagari, Bengali, Thai, Georgian, kana, Hangul's syllables; and ideographs.
LETTERS = (
    "A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0391-\u03a1\u03a3-\u03c9\u0400-\u0481\u048a-\u052f\u0561-\u0586"
    "\u05d0-\u05ea\u0620-\u063a\u0641-\u064a\u0904-\u0939\u0995-\u09a8\u0e01-\u0e2e\u10d0-\u10f0\u3041-\u3096"
    "\u30a1-\u30fa\uac00-\ud7a3"
)
_IDEOGRAPHS = "\u4e00-\u9fa5"
# Marks with which words of Arabic, Devanagari and Thai end.
_MARKS = "\u064b-\u0652\u0901-\u0903\u093e-\u094d\u0e30-\u0e3a\u0e47-\u0e4e"
_SAMPLES = ("a", "Z", "7", "é", "я", "ع", "क", "ก", "한", "か", "東")
_LEFT_SAMPLES = (*_SAMPLES, "a b", "it's", "की", "ที่")


def find_boundary(tokenizer: Tokenizer, *, before: bool = True) -> re.Pattern[str] | None:
    """Matches where a text may be cut: ``text[: match.start()]`` has the first tokens of ``text``, for any ``text``.

    Holds for tokenizers whose model sees one word at a time; None where no such place is known.

    Args:
        tokenizer: whose tokens they are.
        before: False for places where ``text[match.start() :]`` has the last tokens of ``text``.
    """
    if splits_as_bert(tokenizer):
        return _bert_boundary(tokenizer)
    return _probed_boundary(tokenizer, before)


def added_contents(tokenizer: Tokenizer) -> set[str]:
    """What added tokens are matched by: in a text as it is, and in a normalised one."""
    contents = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return contents | {normalised(tokenizer, content) for content in contents}


def normalised(tokenizer: Tokenizer, text: str) -> str:
    """The text as the tokenizer's normaliser leaves it."""
    try:
        return str(tokenizer.normalizer.normalize_str(text)) if tokenizer.normalizer else text
    except BaseException as error:
        raise_ours(error, "the tokenizer cannot normalise a text")


def splits_as_bert(tokenizer: Tokenizer) -> bool:
    """Whether its words are made as BERT's are, whatever model sees them."""
    return isinstance(tokenizer.normalizer, normalizers.BertNormalizer) and isinstance(
        tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer
    )


def _bert_boundary(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """White space, punctuation, and ideographs.

    Each punctuation character of ASCII is a word of its own, whatever stands around it, unless an added token holds it:
    added tokens are matched before words are, so none may reach over a cut.
    """
    added = added_contents(tokenizer)
    # A token that is matched as a single word looks at the letter after it: an ideograph is one, and so is "_".
    single = any(token.single_word for token in tokenizer.get_added_tokens_decoder().values())
    taken = set("".join(added)) | ({"_"} if single else set())
    places = _BERT_SPACES + re.escape("".join(mark for mark in string.punctuation if mark not in taken))
    if tokenizer.normalizer.handle_chinese_chars and not single:
        places += _BERT_IDEOGRAPHS
    boundary = re.compile(f"[{places}]")
    return None if any(boundary.search(content, 1) for content in added) else boundary


def _probed_boundary(tokenizer: Tokenizer, before: bool) -> re.Pattern[str] | None:
    if any(set(content[1:]) & set(_SPACES) for content in added_contents(tokenizer)):
        return None
    if not before and any(token.rstrip for token in tokenizer.get_added_tokens_decoder().values()):
        return None  # it swallows white space behind it, from which the rest would start
    parts = _ends_word if before else _starts_word
    spaces = "".join(space for space in _SPACES if parts(tokenizer, space))
    if not spaces:
        return None
    space, letter = f"[{re.escape(spaces)}]", f"[{LETTERS}{_IDEOGRAPHS}]"
    # SentencePiece's normaliser may drop a mark behind white space, so a mark must have a letter before it.
    behind = "|".join(f"(?<={letter}{marks}{space})" for marks in ("", f"[{_MARKS}]", f"[{_MARKS}]" * 2))
    return re.compile(f"{space}(?:{behind})(?={letter})")


def _ends_word(tokenizer: Tokenizer, space: str) -> bool:
    """Whether the words in front of a white space between two letters or digits are what they are without the rest."""
    return all(
        words(tokenizer, left + space + right)[: len(alone)] == alone
        for left in _LEFT_SAMPLES
        if (alone := words(tokenizer, left))
        for right in _SAMPLES
    )


def _starts_word(tokenizer: Tokenizer, space: str) -> bool:
    """Whether the words from such a white space on are what they are without those in front."""
    return all(
        words(tokenizer, left + space + right)[-len(alone) :] == alone
        for right in (*_SAMPLES, "a b")
        if (alone := words(tokenizer, space + right))
        for left in _LEFT_SAMPLES
    ) and _ends_word(tokenizer, space)


def words(tokenizer: Tokenizer, text: str) -> Sequence[str]:
    """The normalised words of a text that its model sees, one at a time."""
    normal = normalised(tokenizer, text)
    if tokenizer.pre_tokenizer is None:
        return [normal]
    try:
        return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
    except BaseException as error:
        raise_ours(error, "the tokenizer cannot split a text into words")
