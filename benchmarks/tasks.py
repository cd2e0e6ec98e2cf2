"""The texts that quality is measured on: STS-B's test pairs and the Cranfield collection.

They are read from the folder that ``$EMBEDGE_DATA`` names, and cut to a number of tokens here, once: every encoder then
gets the same texts, and none is judged by how it truncates.
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
    """The folder of test data is not there, or not whole."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """STS-B: pairs of sentences, and how alike people found them, from 0 to 5."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every distinct sentence, in order of its first appearance."""
        return tuple(dict.fromkeys((*self.first, *self.second)))


@dataclass(frozen=True, slots=True)
class Collection:
    """Cranfield: queries, documents, and for each query the grades of its relevant documents by their position."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    grades: tuple[Mapping[int, int], ...]


def data_folder() -> Path:
    """The folder that ``$EMBEDGE_DATA`` names.

    Raises:
        DataNotFoundError: the variable is not set, or a file is missing; says which and what is expected.
    """
    named = os.environ.get("EMBEDGE_DATA")
    if not named:
        raise DataNotFoundError(
            f"EMBEDGE_DATA is not set; `export EMBEDGE_DATA=DIR`, the folder that holds {_STSB}/test.tsv "
            f"(score, sentence1, sentence2) and {_CRANFIELD} (corpus.jsonl, queries.jsonl, qrels.tsv as in BEIR)"
        )
    files = (
        f"{_STSB}/test.tsv",
        f"{_STSB}/dev.tsv",
        *(f"{_CRANFIELD}/{name}" for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv")),
    )
    for file in files:
        if not (Path(named) / file).is_file():
            raise DataNotFoundError(f"EMBEDGE_DATA is {named}, which holds no {file}; set it to a folder that does")
    return Path(named)


def read_pairs(folder: Path, split: str = "test") -> Pairs:
    """STS-B's pairs of a split, ``test`` or ``dev``."""
    rows = list(_tsv(folder / _STSB / f"{split}.tsv"))
    return Pairs(
        first=tuple(row["sentence1"] for row in rows),
        second=tuple(row["sentence2"] for row in rows),
        scores=tuple(float(row["score"]) for row in rows),
    )


def read_collection(folder: Path) -> Collection:
    """Cranfield, its documents as title and text; queries without a relevant document are left out.

    A document's text begins with its title already, and the title is put in front all the same: so BEIR's readers do,
    whose figures these are to be compared with.
    """
    corpus, queries = (list(_jsonl(folder / _CRANFIELD / f"{name}.jsonl")) for name in ("corpus", "queries"))
    place = {document["_id"]: position for position, document in enumerate(corpus)}
    grades: dict[str, dict[int, int]] = {query["_id"]: {} for query in queries}
    for row in _tsv(folder / _CRANFIELD / "qrels.tsv"):
        # A query's id is its position, from 1: the numbers of the original cran.qry file have gaps, the qrels' do not.
        if int(row["score"]) > 0:
            grades[row["query-id"]][place[row["corpus-id"]]] = int(row["score"])
    judged = [query for query in queries if grades[query["_id"]]]
    return Collection(
        queries=tuple(query["text"] for query in judged),
        documents=tuple(f"{document['title']} {document['text']}".strip() for document in corpus),
        grades=tuple(grades[query["_id"]] for query in judged),
    )


def cut(texts: Sequence[str], tokenizer: Tokenizer, *, max_tokens: int, prompt: str = "") -> list[str]:
    """The texts, each with ``prompt`` in front, without what is beyond ``max_tokens`` tokens, special ones included.

    The end of a word that the limit falls into is left out where WordPiece finds the same pieces without it, which is
    nearly always; else the word.
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
    """Rows by the names in the first line. A quotation mark is a character like any other."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def _jsonl(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
