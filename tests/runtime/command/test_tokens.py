"""`embedge tokens`: a JSON line for each text, and the sums."""

import json
from pathlib import Path

import pytest

from commands import runner
from embedge import Bundle, Tokenizer
from embedge.command.main import cli


@pytest.fixture
def model(tiny_bundle: Bundle) -> str:
    return str(tiny_bundle.path)


def test_each_text_has_a_line_and_the_sums_follow(model: str, tmp_path: Path) -> None:
    limit = Tokenizer(model).max_tokens
    rows = [{"id": "a", "text": "the cat"}, {"text": ""}, {"_id": 7, "title": "a dog", "text": "cat " * limit}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = runner().invoke(cli, ["tokens", "-m", model, "-i", str(tmp_path / "in.jsonl")])
    assert done.exit_code == 0, done.output
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"index": 0, "id": "a", "tokens": 4, "truncated": False},
        {"index": 1, "tokens": 2, "truncated": False},
        {"index": 2, "id": 7, "tokens": limit + 4, "truncated": True},
    ]
    sums = f"{limit + 10} tokens in 3 texts, the longest has {limit + 4}; 1 would be truncated to {limit} tokens"
    assert sums in done.stderr


def test_the_sums_alone(model: str) -> None:
    limit = Tokenizer(model).max_tokens
    text = "".join(["the cat\n"] * 1500 + ["cat " * limit + "\n"])  # more than one window
    done = runner().invoke(cli, ["tokens", "-m", model, "--total"], input=text)
    assert json.loads(done.stdout) == {
        "texts": 1501,
        "tokens": 6000 + limit + 2,
        "truncated": 1,
        "longest": limit + 2,
        "max_tokens": limit,
    }
    assert done.stderr == ""
    empty = runner().invoke(cli, ["tokens", "-m", model, "--total"], input="")
    assert json.loads(empty.stdout)["texts"] == 0


def test_the_prompt_of_a_query_counts(model: str) -> None:
    lines = [
        json.loads(runner().invoke(cli, ["tokens", "-m", model, "the cat", *more]).stdout) for more in ([], ["--query"])
    ]
    prompted = Tokenizer(model).count_tokens("the cat", prompt_name="query")
    assert [line["tokens"] for line in lines] == [4, prompted]
    assert prompted > 4
