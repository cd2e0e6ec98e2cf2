"""Tokenizer: counts the tokens of texts as an embedder does, without its graph and without ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from types import MappingProxyType
from typing import overload

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import TOKENIZER
from embedge.errors import BundleError
from embedge.hub.resolve import resolve
from embedge.inference.input_texts import check_texts
from embedge.inference.options import check_prefix


class Tokenizer:
    """The tokenizer of an embedding model, with its prompts and its limit; it loads no graph.

    It needs a tenth of the time and memory of an ``Embedder``.

    Args:
        model: a recipe's name, a hub id, or a bundle's path, as for ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.

    Raises:
        BundleNotFoundError: there is no such bundle; the message says how to get one.
        HubError: the download of the bundle fails, or the hub refuses it.
        BundleCorruptError: the tokenizer is not the one that was exported.
        BundleError: the bundle is a reranker, whose inputs are pairs; or its tokenizer cannot be used.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "bge-small-en-v1.5",
        *,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        self._bundle = resolve(
            model, precision=None, preferred=None, cache_dir=cache_dir, local_files_only=local_files_only
        )
        manifest = self._bundle.manifest
        if manifest.task != "embed":
            raise BundleError(
                f"{self._bundle.path} is a reranker, whose inputs are pairs; pass the bundle of an embedder"
            )
        self._bundle.check_sizes((TOKENIZER,))
        self._bundle.check((TOKENIZER,), only_damage=True)
        from embedge.inference.tokenise import Tokeniser  # numpy and tokenizers, which no check above needs

        self._tokeniser = Tokeniser(
            self._bundle.path / TOKENIZER, max_tokens=manifest.max_tokens, truncation_side=manifest.truncation_side
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._bundle.manifest.model!r}, max_tokens={self.max_tokens})"

    @property
    def bundle(self) -> Bundle:
        """The bundle: its path and manifest."""
        return self._bundle

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of an input, special tokens and prompt included; a longer input is truncated."""
        return self._bundle.manifest.max_tokens

    @property
    def prompts(self) -> Mapping[str, str]:
        """The texts to put in front of an input, by name; see ``Embedder.prompts``."""
        return MappingProxyType(dict(self._bundle.manifest.prompts))

    @overload
    def count_tokens(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, *, prompt: str | None = None, prompt_name: str | None = None
    ) -> int: ...
    @overload
    def count_tokens(
        self, texts: Iterable[str], *, prompt: str | None = None, prompt_name: str | None = None
    ) -> list[int]: ...
    def count_tokens(
        self, texts: str | Iterable[str], *, prompt: str | None = None, prompt_name: str | None = None
    ) -> int | list[int]:
        """Return the number of tokens of each text, special ones included, before truncation; an int for one string.

        Args:
            texts: one string, or an iterable of strings.
            prompt: see ``Embedder.encode``.
            prompt_name: see ``Embedder.encode``; ``"query"`` counts a query as ``Embedder.encode_query`` embeds it.

        Raises:
            InputTypeError: an input is not a string; the message has its index.
            InputValueError: a string is not valid Unicode, or the model has no such prompt.
        """
        prefix = check_prefix(self._bundle.manifest, prompt=prompt, prompt_name=prompt_name)
        strings, is_single = check_texts(texts)
        counts = self._tokeniser.count(strings, prefix=prefix)
        return counts[0] if is_single else counts

    @overload
    def is_truncated(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, *, prompt: str | None = None, prompt_name: str | None = None
    ) -> bool: ...
    @overload
    def is_truncated(
        self, texts: Iterable[str], *, prompt: str | None = None, prompt_name: str | None = None
    ) -> list[bool]: ...
    def is_truncated(
        self, texts: str | Iterable[str], *, prompt: str | None = None, prompt_name: str | None = None
    ) -> bool | list[bool]:
        """Return whether an embedder would truncate each text; a bool for one string.

        A text is truncated if it has more than ``max_tokens`` tokens, or more characters than an embedder reads; see
        ``Embedder.encode``.

        Args:
            texts: one string, or an iterable of strings.
            prompt: see ``count_tokens``.
            prompt_name: see ``count_tokens``.

        Raises:
            InputTypeError: as for ``count_tokens``.
            InputValueError: as for ``count_tokens``.
        """
        prefix = check_prefix(self._bundle.manifest, prompt=prompt, prompt_name=prompt_name)
        strings, is_single = check_texts(texts)
        truncated = set(self._tokeniser.encode(strings, prefix=prefix).truncated)
        answers = [index in truncated for index in range(len(strings))]
        return answers[0] if is_single else answers
