"""Reranker and `embedge rerank`: what they take and refuse; export/graph/test_reranker_scores.py holds the scores."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import runner
from embedge import Bundle, InputTypeError, InputValueError, Reranker
from embedge.command.main import cli

DOCUMENTS = ["Yeast makes dough rise.", "The bike has a flat tyre.", "Bread is baked at 220 degrees.", ""]


@pytest.fixture(scope="module")
def bundle(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from seeded_roberta import write_roberta

    folder = write_roberta(tmp_path_factory.mktemp("reranker") / "checkpoint", rerank=True)
    return export(folder, folder.parent / "bundle", verify=False)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Reranker:
    return Reranker(bundle.path)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("how", "found a string"),
        (3, "pairs must be a list of pairs of strings, found int"),
        ({("a", "b")}, r"pairs must be .*, found set, which has no order; pass sorted\(pairs\)"),
        ({"a": "b"}, r"pairs must be .*, found dict; pass list\(pairs\) for its keys, .* or list\(pairs.items\(\)\)"),
        ([("a", "b", "c")], r"pair 0 must be two strings, query and document, found \('a', 'b', 'c'\)"),
        (["ab", "cd"], "pair 0 must be two strings.*found 'ab'"),
        ([("a", "b"), "cd"], "pair 1 must be two strings.*found 'cd'"),
        ([("a", "b"), ("a", None)], r"pair 1 .* found \('a', None\)"),
        ([("a", b"b")], "pair 0"),
    ],
)
def test_what_is_no_pair_is_named(model: Reranker, pairs: Any, message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        model.score(pairs)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"normalize": "yes"}, InputTypeError, "normalize must be True or False, found 'yes'"),
        ({"batch_tokens": 0}, InputValueError, "batch_tokens must be at least 1, found 0"),
        ({"on_truncate": "no"}, InputValueError, "on_truncate must be one of ignore, warn, error, found 'no'"),
    ],
)
def test_options_are_checked(model: Reranker, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model.score([("a", "b")], **options)


def test_rank_is_asked_one_query_about_a_list(model: Reranker) -> None:
    with pytest.raises(InputTypeError, match="query must be a string, found list"):
        model.rank(["a"], DOCUMENTS)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="documents must be a list of strings, found one string"):
        model.rank("a", "b")
    with pytest.raises(InputTypeError, match=r"documents must be a list of strings, found set.*sorted\(documents\)"):
        model.rank("a", set(DOCUMENTS))
    with pytest.raises(InputValueError, match="top_k must be at least 1, found 0"):
        model.rank("a", DOCUMENTS, top_k=0)


def test_a_lone_surrogate_is_named_by_its_pair(model: Reranker) -> None:
    with pytest.raises(InputValueError, match="text 2 is not valid Unicode"):
        model.score([("a", "b"), ("a", "c"), ("\ud800", "d"), ("\ud800", "e")])
    with pytest.raises(InputValueError, match="text 1 is not valid Unicode"):
        model.score([("a", "b"), ("a", "\ud800")])


def test_pairs_may_be_any_iterable_of_tuples_or_lists(model: Reranker) -> None:
    def pairs() -> Iterator[list[str]]:
        for document in DOCUMENTS:
            yield ["bread", document]

    expected = model.score([("bread", document) for document in DOCUMENTS])
    assert np.array_equal(model.score(pairs()), expected)
    assert isinstance(model.score(("bread", DOCUMENTS[0])), np.float32)


def test_many_pairs_are_told_apart(model: Reranker) -> None:
    """More than are tokenised at a time, of several queries."""
    pairs = [(f"bread {n % 7}", f"{DOCUMENTS[n % 4]} {n}") for n in range(1100)]
    scores = model.score(pairs)
    some = [0, 511, 512, 1099]
    assert scores[some].tolist() == [float(model.score(pairs[n])) for n in some]


def test_it_pickles_and_says_what_it_is(model: Reranker, bundle: Bundle) -> None:
    copy = pickle.loads(pickle.dumps(model))
    assert copy.score(("a", "b")) == model.score(("a", "b"))
    assert repr(copy) == f"Reranker({bundle.manifest.model!r}, precision='int8')"


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "embedge", "rerank", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_sorts_documents(model: Reranker, bundle: Bundle) -> None:
    done = run("bake bread", *DOCUMENTS[:3], "-m", str(bundle.path))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    ranked = model.rank("bake bread", DOCUMENTS[:3])
    assert [(line["index"], line["text"]) for line in found] == [(index, DOCUMENTS[index]) for index, _ in ranked]
    assert [np.float32(line["score"]) for line in found] == [score for _, score in ranked]


def test_the_command_reads_json_lines_and_keeps_ids(bundle: Bundle, tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"d{n}", "text": text}) for n, text in enumerate(DOCUMENTS)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    options = ("-m", str(bundle.path), "--top-k", "2", "--normalize")
    named = run("bread", "-i", str(tmp_path / "d.jsonl"), *options).stdout
    assert named == run("bread", "--format", "jsonl", *options, stdin="\n".join(lines)).stdout
    found = [json.loads(line) for line in named.splitlines()]
    assert [f"d{line['index']}" for line in found] == [line["id"] for line in found]
    assert len(found) == 2
    assert all(0 < line["score"] < 1 for line in found)


def test_the_command_refuses_both_documents_and_a_file(bundle: Bundle) -> None:
    done = run("bread", "a", "-i", "b.txt", "-m", str(bundle.path))
    assert done.returncode == 2
    assert "found both documents and -i FILE" in done.stderr


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("logits", [[-20, -18, -30, -87], [3.3333333, 3.3333335, -0.1, 1e-30]])
def test_the_commands_scores_are_exact(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, logits: list[float], normalize: bool
) -> None:
    """Also small ones, such as a passage gets that answers nothing: six decimals would make them all 0."""
    given = np.array(logits, np.float32)
    monkeypatch.setattr("embedge.inference.engine.Engine.run", lambda *arguments: given)
    done = runner().invoke(
        cli, ["rerank", "q", "a", "b", "c", "d", "-m", str(bundle.path), *["--normalize"][:normalize]]
    )
    found = {line["index"]: line["score"] for line in map(json.loads, done.stdout.splitlines())}
    expected = (1 / (1 + np.exp(-given.astype(np.float64))) if normalize else given).astype(np.float32)
    assert list(found) == sorted(range(4), key=lambda index: -given[index])
    scores = np.array([found[index] for index in range(4)], np.float32)
    np.testing.assert_array_max_ulp(scores, expected, maxulp=2 if normalize else 0)


def test_normalised_ranks_are_those_of_the_logits(model: Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits this high are 1, all of them, in float32."""
    logits = np.array([20, 22, 21, 23], np.float32)
    monkeypatch.setattr(model._engine, "run", lambda job: logits)
    assert [index for index, _ in model.rank("bread", DOCUMENTS, normalize=True)] == [3, 1, 2, 0]
