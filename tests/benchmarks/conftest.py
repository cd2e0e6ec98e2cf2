"""Data that the tests of the benchmarks share."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small versions of STS-B and Cranfield: the same files, with words that the tiny tokenizer knows."""
    stsb, cranfield = tmp_path / "in/data/stsb", tmp_path / "in/data/cranfield"
    for folder in (stsb, cranfield):
        folder.mkdir(parents=True)
    pairs = [("5", "the cat sat", "a cat sat"), ("0", "the dog ran", "blue river"), ("2", "bake bread", "bread how ?")]
    for split in ("test", "dev"):
        lines = ["\t".join(row) for row in [("score", "sentence1", "sentence2"), *pairs]]
        (stsb / f"{split}.tsv").write_text("\n".join(lines))
    texts = ["the cat sat on the mat", "a dog ran far away", "blue river and stone", "bake bread"]
    corpus = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(texts)]
    queries = [{"_id": f"q{n}", "text": text} for n, text in enumerate(["cat on mat", "how do i bake ?"])]
    (cranfield / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (cranfield / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (cranfield / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t3\nq1\td3\t2\nq1\td2\t1")
    monkeypatch.setenv("EMBEDGE_DATA", str(tmp_path / "in"))
    return tmp_path
