"""integrations/daft, on the real Daft: its native runner, in threads and in processes, and its runner on Ray."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, BundleNotFoundError, Embedder, InputTypeError, InputValueError
from embedge.integrations.source import ModelSource

daft = pytest.importorskip("daft", reason="needs daft: pip install -e '.[daft]'")

TEXTS = ["the cat sat on the mat", "a dog", "", "the rain in spain falls mainly on the plain " * 9, "naïve 東京"]


def provider(**options: Any) -> Any:
    from embedge.integrations.daft import EmbedgeProvider

    return EmbedgeProvider(**options)


def embed(texts: list[Any], bundle: Bundle, provider: Any, **options: Any) -> Any:
    """The column of vectors, as Daft collects it."""
    from daft.functions import embed_text

    rows = daft.from_pydict({"text": texts})
    vector = embed_text(daft.col("text"), provider=provider, model=str(bundle.path), **options)
    return rows.with_column("vector", vector).collect()


def vectors(rows: Any) -> Any:
    return np.array(rows.to_pydict()["vector"], np.float32)


def test_the_vectors_are_those_of_encode(tiny: Embedder, tiny_bundle: Bundle) -> None:
    rows = embed(TEXTS, tiny_bundle, provider(precision="fp32", on_truncate="ignore"))
    assert rows.schema()["vector"].dtype == daft.DataType.embedding(daft.DataType.float32(), 32)
    assert vectors(rows).tobytes() == tiny.encode(TEXTS, on_truncate="ignore").tobytes()


def test_batches_and_workers_do_not_change_them(tiny: Embedder, tiny_bundle: Bundle) -> None:
    texts = [f"{text} {number}" for number in range(200) for text in ("the cat", "a dog sat on the mat")]
    expected = tiny.encode(texts).tobytes()
    for options in ({"batch_size": 7}, {"batch_size": 64, "concurrency": 2}, {"concurrency": 1}):
        assert vectors(embed(texts, tiny_bundle, provider(precision="fp32"), **options)).tobytes() == expected


def test_queries_have_their_prompt(tiny: Embedder, tiny_bundle: Bundle) -> None:
    """The tiny bundle's query prompt is "how do i ", and it has none for documents."""
    found = vectors(embed(["bake bread"], tiny_bundle, provider(precision="fp32", kind="query")))
    np.testing.assert_array_equal(found[0], tiny.encode("how do i bake bread"))
    mine = vectors(embed(["bread"], tiny_bundle, provider(precision="fp32", prompt="bake ", kind="query")))
    np.testing.assert_array_equal(mine[0], tiny.encode("bake bread"))


def test_fewer_dimensions(tiny: Embedder, tiny_bundle: Bundle) -> None:
    rows = embed(["a cat"], tiny_bundle, provider(precision="fp32", normalize=False), dimensions=8)
    assert rows.schema()["vector"].dtype == daft.DataType.embedding(daft.DataType.float32(), 8)
    np.testing.assert_array_equal(vectors(rows)[0], tiny.encode("a cat", truncate_dim=8, normalize=False))
    with pytest.raises(InputValueError, match="truncate_dim must be between 1 and 32, found 33"):
        embed(["a cat"], tiny_bundle, provider(), dimensions=33)


def test_a_null_is_an_error_that_names_the_row(tiny_bundle: Bundle) -> None:
    message = "embed_text needs strings, found null in row 1 of the batch; drop the row, or pass on_invalid='null'"
    with pytest.raises(InputValueError, match=message):
        embed(["a cat", None], tiny_bundle, provider())


@pytest.mark.parametrize("texts", [[None, "a cat", None, "a dog"], [None, None]])
def test_a_null_becomes_null_where_asked_for(tiny: Embedder, tiny_bundle: Bundle, texts: list[str | None]) -> None:
    rows = embed(texts, tiny_bundle, provider(precision="fp32", on_invalid="null"), batch_size=1)
    found = rows.to_pydict()["vector"]
    assert [vector is None for vector in found] == [text is None for text in texts]
    for text, vector in zip(texts, found, strict=True):
        if text is not None:
            np.testing.assert_array_equal(np.float32(vector), tiny.encode(text))
    assert rows.schema()["vector"].dtype == daft.DataType.embedding(daft.DataType.float32(), 32)


def test_a_number_is_an_error(tiny_bundle: Bundle) -> None:
    with pytest.raises(InputTypeError, match="embed_text needs strings, found int 1 in row 0 of the batch"):
        embed([1, 2], tiny_bundle, provider())


def test_dafts_own_policy_for_errors_gives_null(tiny_bundle: Bundle) -> None:
    rows = embed(["a cat", None], tiny_bundle, provider(), on_error="ignore", batch_size=1)
    assert [vector is None for vector in rows.to_pydict()["vector"]] == [False, True]


def test_what_is_wrong_is_said_before_the_job_starts(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="no such directory"):
        embed(["a cat"], Bundle(tmp_path / "none", tiny_bundle.manifest), provider())
    with pytest.raises(InputValueError, match="kind must be one of document, query"):
        provider(kind="passage")
    with pytest.raises(InputValueError, match="on_invalid must be one of error, null"):
        provider(on_invalid="drop")
    with pytest.raises(TypeError, match="batch_token_limit"):
        embed(["a cat"], tiny_bundle, provider(), batch_token_limit=5)


def test_a_descriptor_goes_through_dafts_pickle_and_opens_one_model(tiny: Embedder, tiny_bundle: Bundle) -> None:
    from daft import pickle

    described = provider(precision="fp32", threads=1).get_text_embedder(str(tiny_bundle.path))
    again = pickle.loads(pickle.dumps(described))
    assert again == described
    with ThreadPoolExecutor(4) as pool:
        workers = list(pool.map(lambda _: again.instantiate(), range(8)))
    assert len({id(worker._model) for worker in workers}) == 1
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda worker: worker.embed_text(TEXTS[:3]), workers))
    assert {np.array(one).tobytes() for one in found} == {tiny.encode(TEXTS[:3]).tobytes()}


def test_the_first_threads_share_one_model(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Daft makes an embedder for each of its threads, at the same time."""
    opened = []
    real = ModelSource.open

    def open_model(source: ModelSource, kind: type[Embedder]) -> Embedder:
        opened.append(kind)
        return real(source, kind)

    monkeypatch.setattr(ModelSource, "open", open_model)
    texts = [f"cat {number}" for number in range(300)]
    embed(texts, tiny_bundle, provider(precision="fp32", threads=2), batch_size=20)
    assert len(opened) == 1


def test_a_gpu_is_asked_for_where_the_model_runs_on_one(tiny_bundle: Bundle) -> None:
    options = provider(device="cuda:0").get_text_embedder(str(tiny_bundle.path)).get_udf_options()
    assert (options.num_gpus, options.concurrency) == (1, 1)
    options = provider(device="cuda").get_text_embedder(str(tiny_bundle.path), concurrency=4).get_udf_options()
    assert (options.num_gpus, options.concurrency) == (1, 4)
    options = provider().get_text_embedder(str(tiny_bundle.path)).get_udf_options()
    assert (options.num_gpus, options.concurrency, options.max_retries) == (None, None, 0)


@pytest.mark.parametrize("runner", ["native", "ray"])
def test_a_script_writes_parquet(tiny: Embedder, tiny_bundle: Bundle, tmp_path: Path, runner: str) -> None:
    """On Ray, each worker is a process of its own."""
    if runner == "ray":
        pytest.importorskip("ray", reason="needs ray: pip install -e '.[ray]'")
    parquet = pytest.importorskip("pyarrow.parquet")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, runner, str(tiny_bundle.path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = parquet.read_table(tmp_path / "out").to_pydict()
    order = np.argsort(rows["number"])
    expected = tiny.encode([f"the cat sat {number}" for number in range(50)])
    assert np.array(rows["vector"], np.float32)[order].tobytes() == expected.tobytes()


SCRIPT = """
import sys
import daft
from daft.functions import embed_text
from embedge.integrations.daft import EmbedgeProvider
if __name__ == "__main__":
    runner, model, out = sys.argv[1:]
    if runner == "ray":
        import ray
        ray.init(num_cpus=2, include_dashboard=False)
        daft.set_runner_ray()
    rows = daft.from_pydict({"number": list(range(50)), "text": [f"the cat sat {n}" for n in range(50)]})
    provider = EmbedgeProvider(precision="fp32", threads=1)
    vector = embed_text(daft.col("text"), provider=provider, model=model, batch_size=16)
    rows.into_partitions(2).with_column("vector", vector).write_parquet(out)
"""
