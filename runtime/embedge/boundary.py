"""Where a long text can be cut before it is tokenised, without changing a token in front of the cut."""

import re

from tokenizers import Tokenizer, normalizers, pre_tokenizers

# BERT's normaliser makes a space of each of these and its pre-tokeniser ends a word there, whatever stands around it:
# no accent reaches over white space. An ideograph gets a space on both sides, so one may start the rest as well.
# (Other white space does not count: of U+000B, say, the normaliser leaves nothing, and the words around it are one.)
_BERT_SPACE = r"[ \t\n\r]"
_BERT_IDEOGRAPH = r"[\u3400-\u4dbf\u4e00-\u9fff]"
# Elsewhere, for one of these between two ASCII letters or digits, where _ends_word has found that it ends a word.
_SPACES = (" ", "\t", "\n", "\r")


def find_boundary(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """Matches where a text may be cut: ``text[: match.start()]`` has the first tokens of ``text``, for any ``text``.

    Holds for tokenizers whose model sees one word at a time; None where no such place is known.
    """
    pattern = _bert_pattern(tokenizer) if _is_bert(tokenizer) else _probed_pattern(tokenizer)
    if pattern is None:
        return None
    boundary = re.compile(pattern)
    added = tokenizer.get_added_tokens_decoder().values()
    # An added token is matched before words are, so none may reach over a cut.
    return None if any(boundary.search(token.content, 1) for token in added) else boundary


def _is_bert(tokenizer: Tokenizer) -> bool:
    return isinstance(tokenizer.normalizer, normalizers.BertNormalizer) and isinstance(
        tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer
    )


def _bert_pattern(tokenizer: Tokenizer) -> str:
    # A token that is matched as a single word looks at the letter after it, and an ideograph is one.
    single = any(token.single_word for token in tokenizer.get_added_tokens_decoder().values())
    ideographs = tokenizer.normalizer.handle_chinese_chars and not single
    return f"{_BERT_SPACE}|{_BERT_IDEOGRAPH}" if ideographs else _BERT_SPACE


def _probed_pattern(tokenizer: Tokenizer) -> str | None:
    spaces = "".join(space for space in _SPACES if _ends_word(tokenizer, space))
    return f"(?<=[A-Za-z0-9])[{re.escape(spaces)}](?=[A-Za-z0-9])" if spaces else None


def _ends_word(tokenizer: Tokenizer, space: str) -> bool:
    """Whether the words in front of a white space between two letters or digits are what they are without the rest."""
    return all(
        _words(tokenizer, left + space + right)[: len(alone)] == alone
        for left in ("a", "Z", "7", "a b", "it's")
        for right in ("a", "Z", "7")
        if (alone := _words(tokenizer, left))
    )


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    if tokenizer.pre_tokenizer is None:
        return [normal]
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
