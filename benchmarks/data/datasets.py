"""The texts of the benchmarks: STS-B's pairs and the Cranfield collection, from the folder ``$EMBEDGE_DATA``.

The texts are truncated here, so that every encoder gets the same texts and its own truncation does not matter.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

_STSB = "data/stsb"
_CRANFIELD = "data/cranfield"


class DataNotFoundError(Exception):
    """The folder of test data does not exist or lacks a file."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """STS-B: pairs of sentences, and how similar people judged them, from 0 to 5."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The distinct sentences, in order of their first appearance."""
        return tuple(dict.fromkeys((*self.first, *self.second)))


@dataclass(frozen=True, slots=True)
class Collection:
    """Cranfield: queries, documents, and for each query the grades of its relevant documents, by their index."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    grades: tuple[Mapping[int, int], ...]


def data_folder() -> Path:
    """The folder ``$EMBEDGE_DATA``.

    Raises:
        DataNotFoundError: the variable is not set, or a file is missing. The message says what is expected.
    """
    named = os.environ.get("EMBEDGE_DATA")
    if not named:
        raise DataNotFoundError(
            f"EMBEDGE_DATA is not set; `export EMBEDGE_DATA=DIR`, a folder with {_STSB}/test.tsv "
            f"(score, sentence1, sentence2) and {_CRANFIELD} (corpus.jsonl, queries.jsonl, qrels.tsv as in BEIR)"
        )
    files = (
        f"{_STSB}/test.tsv",
        f"{_STSB}/dev.tsv",
        *(f"{_CRANFIELD}/{name}" for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv")),
    )
    for file in files:
        if not (Path(named) / file).is_file():
            raise DataNotFoundError(f"EMBEDGE_DATA is {named}, which has no {file}; set it to a folder that has one")
    return Path(named)


def read_pairs(folder: Path, split: str = "test") -> Pairs:
    """STS-B's pairs of the split ``test`` or ``dev``."""
    rows = list(_tsv(folder / _STSB / f"{split}.tsv"))
    return Pairs(
        first=tuple(row["sentence1"] for row in rows),
        second=tuple(row["sentence2"] for row in rows),
        scores=tuple(float(row["score"]) for row in rows),
    )


def read_collection(folder: Path) -> Collection:
    """The Cranfield collection, without the queries that have no relevant document.

    A document is its title and its text. The text itself begins with the title, so the title appears twice. BEIR's
    loaders do the same, and our figures are compared with theirs.
    """
    corpus, queries = (list(_jsonl(folder / _CRANFIELD / f"{name}.jsonl")) for name in ("corpus", "queries"))
    place = {document["_id"]: position for position, document in enumerate(corpus)}
    grades: dict[str, dict[int, int]] = {query["_id"]: {} for query in queries}
    for row in _tsv(folder / _CRANFIELD / "qrels.tsv"):
        # The ids of queries count from 1 without gaps, as in the qrels. The numbers in the original cran.qry have gaps.
        if int(row["score"]) > 0:
            grades[row["query-id"]][place[row["corpus-id"]]] = int(row["score"])
    judged = [query for query in queries if grades[query["_id"]]]
    return Collection(
        queries=tuple(query["text"] for query in judged),
        documents=tuple(f"{document['title']} {document['text']}".strip() for document in corpus),
        grades=tuple(grades[query["_id"]] for query in judged),
    )


def cut(texts: Sequence[str], tokenizer: Tokenizer, *, max_tokens: int, prompt: str = "") -> list[str]:
    """Put ``prompt`` in front of each text, and truncate it to ``max_tokens`` tokens, special tokens included.

    Where the limit is inside a word, the text nearly always ends at that limit. It ends before the word where WordPiece
    would split the shortened word differently.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    room = max_tokens - tokenizer.num_special_tokens_to_add(is_pair=False)
    return [_cut_one(prompt + text, tokenizer, room) for text in texts]


def _cut_one(text: str, tokenizer: Tokenizer, room: int) -> str:
    whole = tokenizer.encode(text, add_special_tokens=False)
    for kept in range(room, 0, -1):
        if len(whole.ids) <= kept:
            return text
        shorter = text[: whole.offsets[kept - 1][1]]
        if list(tokenizer.encode(shorter, add_special_tokens=False).ids) == list(whole.ids[:kept]):
            return shorter
    return ""


def _tsv(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table with a header line. A quotation mark has no special meaning."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def _jsonl(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
