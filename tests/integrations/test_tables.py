"""tables.py: a model on the rows of a table, compared with the model's own methods."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'embedge[arrow]'")

from embedge import Bundle, Embedder, InputTypeError, InputValueError, Reranker, TruncationWarning  # noqa: E402
from embedge.integrations.tables import embed_rows, rerank_rows, sparse_rows  # noqa: E402

TEXTS = ["Yeast makes dough rise.", "The bike has a flat tyre.", "", "東京", "dough " * 600]
ROWS = pa.table({"id": range(5), "text": TEXTS})


@pytest.fixture(scope="session")
def m3(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """Of seeded random weights, with the heads of bge-m3."""
    pytest.importorskip("torch", reason="needs torch, which writes the heads of a bge-m3")
    from seeded_roberta import write_roberta

    folder = write_roberta(tmp_path_factory.mktemp("heads") / "tiny-m3", rerank=False)
    return Embedder(export(folder, folder.parent / "m3", verify=False).path)


def vectors_of(column: Any) -> Any:
    return np.array(column.to_pylist())


@pytest.mark.parametrize("make", [pa.table, pa.RecordBatch.from_pydict], ids=["table", "batch"])
@pytest.mark.parametrize(
    "options",
    [{}, {"truncate_dim": 16}, {"normalize": False}, {"output_precision": "ubinary"}, {"batch_tokens": 64}],
    ids=str,
)
def test_the_vectors_are_those_of_encode(tiny: Embedder, make: Any, options: Any) -> None:
    found = embed_rows(tiny, make(ROWS.to_pydict()), on_truncate="ignore", **options)
    own = {"precision" if name == "output_precision" else name: value for name, value in options.items()}
    expected = tiny.encode(TEXTS, on_truncate="ignore", **own)
    column = found.column("embedding")
    assert column.type == pa.list_(pa.from_numpy_dtype(expected.dtype), expected.shape[1])
    assert np.array_equal(vectors_of(column).astype(expected.dtype), expected)
    assert found.schema.names == ["id", "text", "embedding"]


def test_queries_get_the_models_prompt_unless_another_is_passed(tiny: Embedder) -> None:
    def embedded(**options: Any) -> Any:
        return vectors_of(embed_rows(tiny, ROWS.slice(0, 2), **options).column("embedding")).astype(np.float32)

    assert tiny.prompts["query"]
    assert np.array_equal(embedded(kind="query"), tiny.encode_query(TEXTS[:2]))
    assert np.array_equal(embedded(kind="query", prompt="x "), tiny.encode(TEXTS[:2], prompt="x "))
    assert not np.array_equal(embedded(kind="query"), embedded())


def test_a_truncated_text_is_marked_and_a_null_is_neither(tiny: Embedder) -> None:
    rows = pa.table({"text": [*TEXTS, None]})
    found = embed_rows(tiny, rows, truncated_column="cut", on_invalid="null", on_truncate="ignore")
    expected = [count > tiny.max_tokens for count in tiny.count_tokens(TEXTS)]
    assert found.column("cut").to_pylist() == [*expected, None]
    assert expected == [False, False, False, False, True]
    assert found.column("embedding")[5].as_py() is None


def test_truncation_warns_or_raises_when_asked(tiny: Embedder) -> None:
    with pytest.warns(TruncationWarning, match="1 of 5 texts"):
        embed_rows(tiny, ROWS)
    with pytest.raises(InputValueError, match="1 of 5 texts"):
        embed_rows(tiny, ROWS, on_truncate="error")


def test_no_rows_give_no_vectors(tiny: Embedder) -> None:
    found = embed_rows(tiny, ROWS.slice(0, 0), truncated_column="cut")
    assert found.column("embedding").type == pa.list_(pa.float32(), tiny.dimension)
    assert found.column("cut").type == pa.bool_()
    assert len(found) == 0


def test_a_wrong_row_or_option_is_one_error(tiny: Embedder) -> None:
    rows = pa.table({"id": ["d0", "d1"], "text": ["a", None]})
    with pytest.raises(InputValueError, match=r"found null in row 1 of the batch \(id='d1'\)"):
        embed_rows(tiny, rows, id_column="id")
    with pytest.raises(InputTypeError, match="column 'number' must hold strings, found the type int64"):
        embed_rows(tiny, pa.table({"number": [1]}), column="number")
    with pytest.raises(InputValueError, match="output_precision must be one of float32, binary, ubinary, found 'int8'"):
        embed_rows(tiny, ROWS, output_precision="int8")  # type: ignore[arg-type]
    with pytest.raises(InputValueError, match="have a column 'text' already"):
        embed_rows(tiny, ROWS, output_column="text", on_truncate="ignore")


def test_lexical_weights_are_those_of_encode_sparse(m3: Embedder) -> None:
    rows = pa.table({"text": [*TEXTS[:2], None]})
    column = sparse_rows(m3, rows, on_invalid="null").column("sparse")
    assert column.type == pa.struct({"indices": pa.list_(pa.int32()), "values": pa.list_(pa.float32())})
    assert column[2].as_py() is None
    for found, expected in zip(column.to_pylist(), m3.encode_sparse(TEXTS[:2]), strict=False):
        assert found["indices"] == expected.indices.tolist()
        assert np.array_equal(np.array(found["values"], np.float32), expected.values)


@pytest.mark.parametrize("normalize", [False, True])
def test_scores_are_those_of_score(reranker: Reranker, normalize: bool) -> None:
    rows = pa.table({"query": ["bread?", None, "bread?", "bike?"], "text": [TEXTS[0], TEXTS[0], None, TEXTS[1]]})
    found = rerank_rows(reranker, rows, on_invalid="null", normalize=normalize, truncated_column="cut")
    expected = reranker.score([("bread?", TEXTS[0]), ("bike?", TEXTS[1])], normalize=normalize)
    scores = found.column("score")
    assert scores.type == pa.float32()
    assert [scores[index].as_py() for index in range(4)] == [expected[0], None, None, expected[1]]
    assert found.column("cut").to_pylist() == [False, None, None, False]
    with pytest.raises(InputValueError, match="column 'query' must hold strings, found null in row 1"):
        rerank_rows(reranker, rows)


def test_vectors_do_not_depend_on_which_rows_share_a_batch(tiny_bundle: Bundle) -> None:
    model = Embedder(tiny_bundle.path, precision="fp32", threads=1)
    whole = embed_rows(model, ROWS.slice(0, 4)).column("embedding").to_pylist()
    parts = [embed_rows(model, ROWS.slice(start, 1)).column("embedding").to_pylist()[0] for start in range(4)]
    assert parts == whole
