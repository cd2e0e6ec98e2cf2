"""integrations/lancedb.py, on the real LanceDB and its registry of embedding functions."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, InputTypeError, InputValueError

lancedb = pytest.importorskip("lancedb", reason="needs lancedb: pip install -e '.[lancedb]'")

TEXTS = ["bake bread", "the cat sat on the mat", "a dog", "naïve 東京"]


def function(**options: Any) -> Any:
    from lancedb.embeddings import get_registry

    import embedge.integrations.lancedb  # noqa: F401  # registers it

    return get_registry().get("embedge").create(**options)


def table(folder: Path, model: Any, texts: list[Any] = TEXTS) -> Any:
    from lancedb.pydantic import LanceModel, Vector

    class Document(LanceModel):  # type: ignore[misc]
        text: str | None = model.SourceField()
        vector: Vector(model.ndims(), nullable=True) = model.VectorField()  # type: ignore[valid-type]

    made = lancedb.connect(folder).create_table("documents", schema=Document)
    made.add([{"text": text} for text in texts])
    return made


def vectors(table: Any) -> Any:
    return np.array(table.to_arrow()["vector"].to_pylist(), np.float32)


def test_rows_have_the_vectors_of_encode_and_queries_the_prompt(
    tiny: Embedder, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """The tiny bundle's query prompt is "how do i ", and it has none for documents."""
    made = table(tmp_path, function(model=str(tiny_bundle.path), precision="fp32"))
    assert vectors(made).tobytes() == tiny.encode(TEXTS).tobytes()
    found = made.search("bake bread").distance_type("cosine").limit(4).to_list()
    expected = tiny.similarity(tiny.encode("how do i bake bread"), tiny.encode(TEXTS))[0]
    assert [row["text"] for row in found] == [TEXTS[index] for index in np.argsort(-expected)]
    assert [1 - row["_distance"] for row in found] == pytest.approx(sorted(expected.tolist())[::-1], abs=1e-5)


def test_prompts_of_ones_own(tiny: Embedder, tiny_bundle: Bundle) -> None:
    model = function(model=str(tiny_bundle.path), precision="fp32", query_prompt="q ", document_prompt="d ")
    np.testing.assert_array_equal(model.compute_query_embeddings("cat"), [tiny.encode("q cat")])
    np.testing.assert_array_equal(model.compute_query_embeddings(["cat", "dog"]), tiny.encode(["q cat", "q dog"]))
    np.testing.assert_array_equal(model.compute_source_embeddings(["cat"]), [tiny.encode("d cat")])


def test_another_process_reopens_the_table_with_its_options(
    tiny: Embedder, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    model = function(model=str(tiny_bundle.path), precision="fp32", truncate_dim=8, threads=1)
    made = table(tmp_path, model)
    assert made.schema.field("vector").type.list_size == 8
    assert vectors(made).tobytes() == tiny.encode(TEXTS, truncate_dim=8).tobytes()
    code = (
        "import sys, lancedb, embedge.integrations.lancedb;"
        "table = lancedb.connect(sys.argv[1]).open_table('documents');"
        "table.add([{'text': 'the rain'}]); print(table.search('rain').limit(1).to_list()[0]['vector'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made.checkout_latest()
    np.testing.assert_array_equal(vectors(made)[-1], tiny.encode("the rain", truncate_dim=8))


def test_a_row_without_text_is_one_error_at_the_first_try(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """LanceDB itself would try seven times more, and wait for minutes."""
    model = function(model=str(tiny_bundle.path))
    with pytest.raises(InputValueError, match="must hold strings, found null in row 1 of the batch"):
        model.compute_source_embeddings_with_retry(["a cat", None])
    for texts in ([1, 2], ["a cat", 5]):
        with pytest.raises(InputTypeError, match="must hold strings"):
            model.compute_source_embeddings_with_retry(texts)
    with pytest.raises(InputTypeError, match="text 0 must be a string, found int"):
        model.compute_query_embeddings_with_retry([5])
    started = time.monotonic()
    with pytest.raises(Exception, match="must hold strings, found null in row 1 of the batch; drop the row"):
        table(tmp_path, model, ["a cat", None])
    assert time.monotonic() - started < 30


def test_a_null_stays_null_where_asked_for(tiny: Embedder, tiny_bundle: Bundle, tmp_path: Path) -> None:
    model = function(model=str(tiny_bundle.path), precision="fp32", on_invalid="null")
    first, second = model.compute_source_embeddings_with_retry(["a cat", None])
    assert second is None
    np.testing.assert_array_equal(first, tiny.encode("a cat"))
    assert model.compute_source_embeddings([]) == []


def test_the_size_is_known_without_the_model(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Embedder, "__init__", refuse)
    assert function(model=str(tiny_bundle.path)).ndims() == 32
    with pytest.raises(InputValueError, match="between 1 and 32"):
        function(model=str(tiny_bundle.path), truncate_dim=33).ndims()


def test_a_misspelled_option_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"(?s)normalise.*Extra inputs are not permitted"):
        function(normalise=False)


def test_functions_with_the_same_options_share_a_model(tiny_bundle: Bundle) -> None:
    first, second = (function(model=str(tiny_bundle.path), batch_tokens=tokens) for tokens in (64, 128))
    assert first._embedder() is second._embedder()
