"""Measure the tokenisation of one text of ten million characters: milliseconds and memory, for many kinds of text.

python -m benchmarks.long_texts --help
"""

import random
import re
import string
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json
from embedge.bundle.manifest import Side
from embedge.errors import InputValueError
from embedge.inference.tokenise import Tokeniser
from embedge.inference.tokens import Tokens

_PROMPT = "query: "


def _drawn(alphabet: Sequence[str]) -> Callable[[int], str]:
    """A function that makes a text from 100,003 random pieces of an alphabet, repeated to the length of the text."""

    def make(length: int) -> str:
        drawn = "".join(random.Random(0).choices(alphabet, k=100_003))
        return (drawn * (length // len(drawn) + 1))[:length]

    return make


def _all_of(first: int, last: int) -> Callable[[int], str]:
    return _drawn([chr(code) for code in range(first, last) if not 0xD800 <= code < 0xE000])


_KINDS: Mapping[str, Callable[[int], str]] = {
    "English": _drawn(["the ", "cat ", "sat. ", "on ", "mats, "]),
    "minified JSON": _drawn([*'{}[]":,', *"abcdefgh0123"]),
    "base64": _drawn(string.ascii_letters + string.digits + "+/"),
    "hexadecimal": _drawn("0123456789abcdef"),
    "full stops": _drawn("."),
    "ellipses": _drawn("…"),
    "one letter": _drawn("a"),
    "blanks": _drawn(" "),
    "white space": _drawn(" \t\n\r"),
    "words far apart": _drawn(["a" + " " * 999]),
    "words in code": _drawn(["ab" + " " * 50]),
    "words of 20,000 letters": _drawn(["a" * 20_000 + " "]),
    "NULs": _drawn("\0"),
    "NULs and blanks": _drawn(" \0\u0301\u200b"),
    "accents": _drawn("\u0301"),
    "marks": _drawn("\u0301\u0327\u0323"),
    "emoji": _drawn("🚲"),
    "joined emoji": _drawn("👩\u200d"),
    "flags": _drawn("\U0001f1e6"),
    "Cyrillic words": _drawn("абвгдежзийклмн  "),
    "Cyrillic, no spaces": _drawn("абвгдежзийклмнопрстуфхцчшщъыьэюя"),
    "Arabic, no spaces": _drawn("ابتثجحخدذر"),
    "Hindi, no spaces": _drawn("कखगघङ\u093e\u094d"),
    "Thai, no spaces": _drawn("กขคงจฉชซญดตถ\u0e34\u0e35"),
    "Korean, no spaces": _drawn("한국어가나다"),
    "Jamo": _drawn("\u1100\u1161\u11a8"),
    "Chinese": _drawn("東京大学的是不了人我在有他"),
    "private use": _all_of(0xE000, 0xE100),
    "all of Unicode": _all_of(0x21, 0x30000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one text.

    Attributes:
        kind: the kind of text.
        document: the milliseconds of the text with a prompt.
        pair: the milliseconds of the text as the document of a pair.
        query: the milliseconds of the text as the query of a pair, until the error that it is too long.
        megabytes: the peak growth of the process in these three calls.
        tokens: the number of tokens after truncation.
        unread: whether embedge did not read all of the text, although it has fewer tokens than the limit.
    """

    kind: str
    document: float
    pair: float
    query: float
    megabytes: float
    tokens: int
    unread: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTexts:
    """One run of the benchmark."""

    tokenizer: str
    max_tokens: int
    truncation_side: Side
    characters: int
    costs: Sequence[Cost]
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("tokenizer", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--max-tokens", type=click.IntRange(min=3), default=512, show_default=True)
@click.option(
    "--side",
    type=click.Choice(["right", "left"]),
    default="right",
    show_default=True,
    help="The side that truncation cuts off.",
)
@click.option("--characters", type=click.IntRange(min=1), default=10_000_000, show_default=True)
@click.option("--only", type=click.Choice(list(_KINDS)), hidden=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="File for the results.")
def main(
    tokenizer: Path, max_tokens: int, side: Side, characters: int, only: str | None, json_file: Path | None
) -> None:
    """Measure one text of each kind with TOKENIZER, a tokenizer.json, each in a new process.

    The benchmark measures embedge's work on a text before the graph runs: it searches for the tokens up to the limit.
    This takes one core; milliseconds are processor time.

    \b
    python -m benchmarks.long_texts bundle/tokenizer.json
    """
    if only:
        cost = _measure(Tokeniser(tokenizer, max_tokens=max_tokens, truncation_side=side), only, characters)
        click.echo(repr((cost.document, cost.pair, cost.query, cost.megabytes, cost.tokens, cost.unread)))
        return
    costs = []
    for kind in _KINDS:
        command = [
            sys.executable,
            "-m",
            "benchmarks.long_texts",
            str(tokenizer),
            f"--max-tokens={max_tokens}",
            f"--side={side}",
        ]
        answer = subprocess.run(
            [*command, f"--characters={characters}", "--only", kind], check=True, capture_output=True, text=True
        ).stdout
        document, pair, query, megabytes, tokens, unread = answer.strip("()\n").split(", ")
        costs.append(
            Cost(
                kind=kind,
                document=float(document),
                pair=float(pair),
                query=float(query),
                megabytes=float(megabytes),
                tokens=int(tokens),
                unread=unread == "True",
            )
        )
        click.echo(f"{kind}: {costs[-1].document:.0f} ms", err=True)
    result = LongTexts(
        tokenizer=str(tokenizer),
        max_tokens=max_tokens,
        truncation_side=side,
        characters=characters,
        costs=costs,
        machine=this_machine(),
    )
    _print(result)
    if json_file:
        write_json(result, json_file)


def _measure(tokeniser: Tokeniser, kind: str, characters: int) -> Cost:
    text = _KINDS[kind](characters)
    tokeniser.encode(["a first text"])
    before = _start_peak()
    document, tokens = _timed(lambda: tokeniser.encode([text], prefix=_PROMPT))
    pair, _ = _timed(lambda: tokeniser.encode_pairs([("what is it?", text)]))
    query, _ = _timed(lambda: tokeniser.encode_pairs([(text, "it is this")]))
    return Cost(
        kind=kind,
        document=document,
        pair=pair,
        query=query,
        megabytes=(_memory("VmHWM") - before) / 1e6,
        tokens=len(tokens.ids[0]) if tokens else 0,
        unread=bool(tokens and tokens.max_characters),
    )


def _timed(call: Callable[[], Tokens]) -> tuple[float, Tokens | None]:
    """The processor time in milliseconds, and the tokens; None where embedge refuses the text."""
    start = time.process_time()
    try:
        result = call()
    except InputValueError:
        result = None
    return 1000 * (time.process_time() - start), result


def _start_peak() -> int:
    """Reset the peak of the process, because making the text took more memory, and return its bytes now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def _print(result: LongTexts) -> None:
    click.echo(
        f"{result.tokenizer}, {result.max_tokens} tokens, truncated on the {result.truncation_side}, "
        f"{result.characters:,} characters\n{describe(result.machine)}\n"
    )
    rows = [
        (
            cost.kind,
            *(f"{milliseconds:.0f}" for milliseconds in (cost.document, cost.pair, cost.query)),
            f"{cost.megabytes:.0f}",
            f"{cost.tokens}",
            "yes" if cost.unread else "",
        )
        for cost in result.costs
    ]
    head = ("text of", "ms", "ms, as document", "ms, as query", "MB", "tokens", "partly unread")
    click.echo(align([head, *rows]))


if __name__ == "__main__":
    main()
