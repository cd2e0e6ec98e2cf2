"""examples/spark.py, on the real Spark in local mode: a Java process, and a Python process for each core."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder

pyspark = pytest.importorskip("pyspark", reason="needs pyspark: pip install pyspark pandas")
pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install -e '.[arrow]'")
if shutil.which("java") is None:
    pytest.skip("needs Java 17: apt-get install openjdk-17-jre-headless", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore:PySpark does not yet fully support pandas"
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "spark.py"
TEXTS = [None if number % 7 == 3 else f"the cat sat on the mat {number}" for number in range(100)]


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable  # else Spark takes the first python3 on PATH for its workers
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    session = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 16).getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def example() -> Any:
    spec = spec_from_file_location("spark", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parquet_to_parquet_gives_the_vectors_of_encode(
    session: Any, example: Any, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """In four partitions, in batches of 16 rows, with nulls."""
    rows = session.createDataFrame(list(enumerate(TEXTS)), "number int, text string")
    rows.repartition(4).write.parquet(str(tmp_path / "in"))
    example.main(str(tiny_bundle.path), str(tmp_path / "in"), str(tmp_path / "out"))
    found = session.read.parquet(str(tmp_path / "out")).orderBy("number").collect()
    assert [row.text for row in found] == TEXTS
    assert [row.vector is None for row in found] == [text is None for text in TEXTS]
    expected = Embedder(tiny_bundle.path).encode([text for text in TEXTS if text is not None])
    assert np.array([row.vector for row in found if row.vector is not None], np.float32).tobytes() == expected.tobytes()


def test_other_columns_and_partitions_without_rows(session: Any, example: Any, tiny_bundle: Bundle) -> None:
    rows = session.createDataFrame([("a cat", 1)], "title string, number int").repartition(3)
    found = example.embed_column(rows, str(tiny_bundle.path), column="title", output="embedding")
    assert found.schema.simpleString() == "struct<title:string,number:int,embedding:array<float>>"
    (row,) = found.collect()
    np.testing.assert_array_equal(np.float32(row.embedding), Embedder(tiny_bundle.path).encode("a cat"))


def test_an_error_of_the_model_is_in_sparks_error(session: Any, example: Any, tiny_bundle: Bundle) -> None:
    rows = session.createDataFrame([(1,)], "text int")
    with pytest.raises(Exception, match="column 'text' must hold strings, found the type int32"):
        example.embed_column(rows, str(tiny_bundle.path)).collect()
    with pytest.raises(Exception, match="no bundle at /nowhere: no such directory"):
        example.embed_column(rows, "/nowhere").collect()


def test_a_broadcast_bundle_is_unpacked_by_the_workers(session: Any, tiny_bundle: Bundle) -> None:
    from embedge.integrations.packed_bundle import PackedBundle

    sent = session.sparkContext.broadcast(PackedBundle.pack(tiny_bundle.path))

    def embed(batches: Iterable[Any]) -> Iterator[Any]:
        model = Embedder(sent.value.unpack(), threads=1)
        for batch in batches:
            vectors = list(model.encode(batch.column("text").to_pylist()))
            yield batch.append_column("vector", pa.array(vectors, pa.list_(pa.float32())))

    rows = session.createDataFrame([("a cat",), ("a dog",)], "text string").repartition(2)
    found = rows.mapInArrow(embed, "text string, vector array<float>").orderBy("text").collect()
    expected = Embedder(tiny_bundle.path).encode(["a cat", "a dog"])
    assert np.array([row.vector for row in found], np.float32).tobytes() == expected.tobytes()


def test_spark_has_no_fixed_size_list(session: Any) -> None:
    """Why the example makes a plain list. If this fails, Spark has learned it: use `vectors_column` there."""

    def embed(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            flat = pa.array(np.zeros(2 * batch.num_rows, np.float32))
            yield batch.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, 2))

    rows = session.createDataFrame([("a cat",)], "text string")
    with pytest.raises(Exception, match="Unsupported arrow type FixedSizeList"):
        rows.mapInArrow(embed, "text string, vector array<float>").collect()
