"""Small tokenizers of every kind, and pieces of text that are difficult for them."""

import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import tokenizers
from packaging.version import Version
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

OLD = Version(tokenizers.__version__) < Version("0.21")  # older versions treat some white space differently

# Characters at which words end, or seem to end: white space of every kind, ideographs (one beyond the basic plane, one
# for compatibility), kana, combining marks (one of them a letter), parts of Hangul, a joiner, punctuation, digits.
PIECES = [*" \t\n\r\x0b\x0c\x85\xa0\u2003\u3000", "  ", "\r\n", "b", "ab", "Z", "7", "42", "'s", ".", "-", "é"]
PIECES += [*"İ\u3400\U00020000\uf900かカ\uff9e\u0301\u0327\u0e33\u1100\u1161\u200d\ufe0f\x00\ufffd🚲к"]
PIECES += ["क", "\u093e", "\u094d", "한", "ع", "\u064b", "ก", "\u0e34", "_", "=\u0338", "…", "，", "🇫", "🇷", "\u0600"]
PIECES += ["[MASK]", "<x>", "▁", *"a東京\n " * 5]  # the pieces that a wrong cut would split are the most frequent


def alphabet() -> list[str]:
    return sorted({c for piece in PIECES for c in piece} | set("abZ7▁"))


def unigram(*, byte_fallback: bool = False, fuse: bool = True) -> models.Unigram:
    """A model with pieces in several scripts, the most likely first. Without ``fuse``, it lacks most characters."""
    pieces = ["a\n", "東京", "京a", ".\n", "▁a", "▁ab", "ab", "aa", "क\u093e", "한한", "к▁", "aaaa"]
    pieces += alphabet() if fuse else ["a", "b", "▁", "東"]
    if byte_fallback:
        pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    return models.Unigram(
        [("<unk>", 0.0), *((piece, -3.0 - i / 10) for i, piece in enumerate(dict.fromkeys(pieces)))], 0, byte_fallback
    )


def _bert(**options: Any) -> Tokenizer:
    words = [
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "b",
        "z",
        "ab",
        "##a",
        "##b",
        "7",
        "東",
        "京",
        ".",
        "_",
        "к",
        "e",
    ]
    words += ["##7", "한", "क", "…"]
    vocabulary = {word: index for index, word in enumerate(words)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=9))
    made.normalizer = normalizers.BertNormalizer(**options)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[CLS]", "[SEP]", "[MASK]"])
    return made


def _bytes() -> Tokenizer:
    letters = pre_tokenizers.ByteLevel.alphabet()
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate([*letters, "Ġa"])}, [("Ġ", "a")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def _unigram(normalizer: Any, pre_tokenizer: Any, **options: Any) -> Tokenizer:
    made = Tokenizer(unigram(**options))
    if normalizer is not None:
        made.normalizer = normalizer
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    return made


def _split() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])


def _collapsed() -> Any:
    parts = [normalizers.NFKC(), normalizers.Replace("\n", " "), normalizers.Replace("\t", " ")]
    return normalizers.Sequence([*parts, normalizers.Replace(Regex(" {2,}"), " ")])


def _words() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"a": 0, "ab": 1, "<unk>": 2}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def _precomposed() -> Any:
    return normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\n", " "), normalizers.Strip()])


KINDS: Mapping[str, Callable[[], Tokenizer]] = {
    "bert": _bert,
    "bert cased": lambda: _bert(lowercase=False, handle_chinese_chars=False),
    "bert accents": lambda: _bert(strip_accents=False, clean_text=False),
    "bytes": _bytes,
    "metaspace": lambda: _unigram(None, pre_tokenizers.Metaspace()),
    "metaspace first": lambda: _unigram(normalizers.NFC(), pre_tokenizers.Metaspace(prepend_scheme="first")),
    "metaspace never": lambda: _unigram(_collapsed(), pre_tokenizers.Metaspace(prepend_scheme="never")),
    "xlm": lambda: _unigram(normalizers.NFKC(), _split(), fuse=False),
    "fallback": lambda: _unigram(_collapsed(), _split(), byte_fallback=True, fuse=False),
    "precomposed": lambda: _unigram(_precomposed(), _split()),
    "words": _words,
}
ADDED = {
    "plain": AddedToken("<x>", normalized=False),
    "swallows": AddedToken("<x>", lstrip=True, rstrip=True),
    "left": AddedToken("<x>", lstrip=True, normalized=False),
    "alone": AddedToken("ab", single_word=True),
    "normalised": AddedToken("aZ", normalized=True),
    "letters": AddedToken("aaa", normalized=False),
    "punctuated": AddedToken(".a-", lstrip=True, single_word=True),
}


def make(kind: str, added: str | None = None) -> Tokenizer:
    """A tokenizer of KINDS, with a token of ADDED if given."""
    tokenizer = KINDS[kind]()
    if added:
        tokenizer.add_tokens([ADDED[added]])
    return tokenizer


@cache
def precompiled(collapse: bool) -> Tokenizer:
    """A tokenizer with XLM-RoBERTa's normaliser (a table of ``sentencepiece``) and one of its pre-tokenisers."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2

    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on a mat"] * 20),
        model_writer=trained,
        vocab_size=30,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    read = sentencepiece_model_pb2.ModelProto.FromString(trained.getvalue())
    table = normalizers.Precompiled(read.normalizer_spec.precompiled_charsmap)
    if not collapse:
        return _unigram(table, _split())
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    return _unigram(normalizers.Sequence([table, spaces]), pre_tokenizers.Metaspace())
