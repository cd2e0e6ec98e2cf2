"""Word boundaries: where a long text can be cut before it is tokenised, so that no token before or after changes."""

import re
import string
from collections.abc import Sequence

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from embedge.inference.tokenizer_file import raise_ours

# BERT's normaliser turns each of these into a space, and its pre-tokeniser ends a word there, whatever is around it: an
# accent does not combine across white space. An ideograph gets a space on both sides, so a text can be cut before one,
# too. (Other white space does not count: the normaliser deletes U+000B, for example, and joins the words around it.)
_BERT_SPACES = " \t\n\r"
_BERT_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff"
# For other tokenizers: one of these, between two letters or digits, if the probes below show that it ends a word.
_SPACES = (" ", "\t", "\n", "\r")
# Letters that never form a grapheme with white space before them, and that no normalisation composes with it: none is
# Extend, SpacingMark or Prepend in Unicode's GraphemeBreakProperty.txt. Latin, Greek, Cyrillic, Armenian, Hebrew,
# Arabic, Devanagari, Bengali, Thai, Georgian, kana, Hangul syllables; and ideographs.
LETTERS = (
    "A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0391-\u03a1\u03a3-\u03c9\u0400-\u0481\u048a-\u052f\u0561-\u0586"
    "\u05d0-\u05ea\u0620-\u063a\u0641-\u064a\u0904-\u0939\u0995-\u09a8\u0e01-\u0e2e\u10d0-\u10f0\u3041-\u3096"
    "\u30a1-\u30fa\uac00-\ud7a3"
)
_IDEOGRAPHS = "\u4e00-\u9fa5"
# Marks that words of Arabic, Devanagari and Thai may end with.
_MARKS = "\u064b-\u0652\u0901-\u0903\u093e-\u094d\u0e30-\u0e3a\u0e47-\u0e4e"
_SAMPLES = ("a", "Z", "7", "é", "я", "ع", "क", "ก", "한", "か", "東")
_LEFT_SAMPLES = (*_SAMPLES, "a b", "it's", "की", "ที่")


def find_word_boundary(tokenizer: Tokenizer, *, before: bool = True) -> re.Pattern[str] | None:
    """Return a pattern that matches where any text may be cut: ``text[: match.start()]`` has the text's first tokens.

    There is one for tokenizers whose model sees one word at a time; None if no boundary is known.

    Args:
        tokenizer: the tokenizer that makes the tokens.
        before: False for cuts after which ``text[match.start() :]`` has the text's last tokens.
    """
    if splits_as_bert(tokenizer):
        return _bert_boundary(tokenizer)
    return _probed_boundary(tokenizer, before)


def added_contents(tokenizer: Tokenizer) -> set[str]:
    """Return the strings that match added tokens, in a text as it is and in a normalised one."""
    contents = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return contents | {normalised(tokenizer, content) for content in contents}


def normalised(tokenizer: Tokenizer, text: str) -> str:
    """Return the text as the tokenizer's normaliser returns it."""
    try:
        return str(tokenizer.normalizer.normalize_str(text)) if tokenizer.normalizer else text
    except BaseException as error:
        raise_ours(error, "the tokenizer cannot normalise a text")


def splits_as_bert(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer splits a text into words as BERT does, whatever its model is."""
    return isinstance(tokenizer.normalizer, normalizers.BertNormalizer) and isinstance(
        tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer
    )


def _bert_boundary(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """Match white space, punctuation and ideographs.

    Each ASCII punctuation character is a word of its own, whatever is around it, unless an added token contains it:
    added tokens are matched before words, so none may span a cut.
    """
    added = added_contents(tokenizer)
    # An added token with single_word looks at the character beside it, and counts ideographs and "_" as letters.
    single = any(token.single_word for token in tokenizer.get_added_tokens_decoder().values())
    taken = set("".join(added)) | ({"_"} if single else set())
    characters = _BERT_SPACES + re.escape("".join(mark for mark in string.punctuation if mark not in taken))
    if tokenizer.normalizer.handle_chinese_chars and not single:
        characters += _BERT_IDEOGRAPHS
    boundary = re.compile(f"[{characters}]")
    return None if any(boundary.search(content, 1) for content in added) else boundary


def _probed_boundary(tokenizer: Tokenizer, before: bool) -> re.Pattern[str] | None:
    if any(set(content[1:]) & set(_SPACES) for content in added_contents(tokenizer)):
        return None
    if not before and any(token.rstrip for token in tokenizer.get_added_tokens_decoder().values()):
        return None  # such a token takes the white space after it, where the rest would start
    is_boundary = _ends_word if before else _starts_word
    spaces = "".join(space for space in _SPACES if is_boundary(tokenizer, space))
    if not spaces:
        return None
    space, letter = f"[{re.escape(spaces)}]", f"[{LETTERS}{_IDEOGRAPHS}]"
    # SentencePiece's normaliser may drop a mark after white space, so a mark must have a letter before it.
    behind = "|".join(f"(?<={letter}{marks}{space})" for marks in ("", f"[{_MARKS}]", f"[{_MARKS}]" * 2))
    return re.compile(f"{space}(?:{behind})(?={letter})")


def _ends_word(tokenizer: Tokenizer, space: str) -> bool:
    """Whether the words before such a white space are the same without the text after it."""
    return all(
        words(tokenizer, left + space + right)[: len(alone)] == alone
        for left in _LEFT_SAMPLES
        if (alone := words(tokenizer, left))
        for right in _SAMPLES
    )


def _starts_word(tokenizer: Tokenizer, space: str) -> bool:
    """Whether the words from such a white space on are the same without the text before it."""
    return all(
        words(tokenizer, left + space + right)[-len(alone) :] == alone
        for right in (*_SAMPLES, "a b")
        if (alone := words(tokenizer, space + right))
        for left in _LEFT_SAMPLES
    ) and _ends_word(tokenizer, space)


def words(tokenizer: Tokenizer, text: str) -> Sequence[str]:
    """Return the normalised words of a text, which the model sees one at a time."""
    normal = normalised(tokenizer, text)
    if tokenizer.pre_tokenizer is None:
        return [normal]
    try:
        return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
    except BaseException as error:
        raise_ours(error, "the tokenizer cannot split a text into words")
