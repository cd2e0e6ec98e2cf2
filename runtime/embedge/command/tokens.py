"""`embedge tokens`: texts -> the number of their tokens, and whether a model would truncate them."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import click

from embedge.command.options import (
    format_option,
    input_option,
    local_files_only_option,
    model_option,
    open_input,
)
from embedge.command.write_vectors import json_line
from embedge.errors import InputValueError
from embedge.progress import tell
from embedge.text_files import Format, Item

if TYPE_CHECKING:
    from embedge.tokenizer import Tokenizer

_WINDOW = 512  # texts that are tokenised together


@click.command()
@click.argument("text", nargs=-1)
@model_option("bge-small-en-v1.5")
@input_option
@format_option
@click.option("--query", is_flag=True, help="Treat the texts as queries: prepend the model's query prompt.")
@click.option("--total", is_flag=True, help="Print one JSON line with the sums, and none for each text.")
@local_files_only_option
def tokens(
    text: tuple[str, ...],
    model: str,
    source: str | None,
    form: Format | None,
    query: bool,
    total: bool,
    local_files_only: bool,
) -> None:
    """Count the tokens of texts, and those that the model would truncate.

    The texts are the arguments, or the lines of a file or of stdin, as for `embedge embed`. Special tokens and the
    prompt count. The output has a JSON line for each text: its "index", its "id" if it has one, the number of its
    "tokens" before truncation, and whether it is "truncated". The sums follow on stderr. Only the tokenizer is loaded,
    so this takes a small part of the time of `embedge embed`.

    \b
    Examples:
      embedge tokens "how do I bake bread?"
      embedge tokens -m bge-m3 -i passages.jsonl --total
      cat texts.txt | embedge tokens > counts.jsonl
    """
    if sys.stdout is None:
        raise InputValueError("stdout is closed; redirect it to a file")
    with open_input(text, source, form, what="texts", command="tokens") as items:
        from embedge.tokenizer import Tokenizer

        tokenizer = Tokenizer(model, local_files_only=local_files_only)
        sums = _Sums()
        for item, count, is_truncated in _counts(tokenizer, items, query):
            if not total:
                head = {"index": sums.texts} if item.id is None else {"index": sums.texts, "id": item.id}
                click.echo(json_line({**head, "tokens": count, "truncated": is_truncated}).encode())
            sums.add(count, is_truncated)
    if total:
        figures = {"texts": sums.texts, "tokens": sums.tokens, "truncated": sums.truncated}
        click.echo(json_line({**figures, "longest": sums.longest, "max_tokens": tokenizer.max_tokens}).encode())
    else:
        tell(
            f"{sums.tokens} tokens in {sums.texts} texts, the longest has {sums.longest}; "
            f"{sums.truncated} would be truncated to {tokenizer.max_tokens} tokens"
        )


@dataclass(slots=True)
class _Sums:
    """The sums over all texts."""

    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    longest: int = 0

    def add(self, tokens: int, is_truncated: bool) -> None:
        self.texts += 1
        self.tokens += tokens
        self.truncated += is_truncated
        self.longest = max(self.longest, tokens)


def _counts(tokenizer: "Tokenizer", items: Iterable[Item], query: bool) -> Iterator[tuple[Item, int, bool]]:
    """Yield every item with its number of tokens and whether it is truncated; a window of them is in memory."""
    prompt = tokenizer.prompts.get("query" if query else "document", "")
    source = iter(items)
    while window := list(islice(source, _WINDOW)):
        texts = [item.text for item in window]
        counts = tokenizer.count_tokens(texts, prompt=prompt)
        yield from zip(window, counts, tokenizer.is_truncated(texts, prompt=prompt), strict=True)
