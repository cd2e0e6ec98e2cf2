"""Jobs of `benchmarks.engines` for Daft and Spark: documents of a Parquet folder to documents with vectors."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Reads the documents of one folder, and writes them with their vectors into another, which does not exist.
Job = Callable[[Path, Path], None]


@contextmanager
def daft_native(model: str, cores: int) -> Iterator[Job]:
    """Daft's native runner: one process, whose threads share a model that has all cores."""
    import daft
    from daft.functions import embed_text

    from embedge.integrations.daft import EmbedgeProvider

    def run(source: Path, target: Path) -> None:
        provider = EmbedgeProvider(threads=cores, on_truncate="ignore")
        vector = embed_text(daft.col("text"), provider=provider, model=model)
        daft.read_parquet(str(source / "*.parquet")).with_column("embedding", vector).write_parquet(str(target))

    yield run


@contextmanager
def spark_local(model: str, cores: int) -> Iterator[Job]:
    """Spark in local mode: a Java process, and a Python process with one thread for each core."""
    from pyspark.sql import SparkSession

    from examples.spark import embed_column

    os.environ["PYSPARK_PYTHON"] = sys.executable  # else Spark takes the first python3 on PATH for its workers
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    session = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 4096).getOrCreate()

    def run(source: Path, target: Path) -> None:
        embed_column(session.read.parquet(str(source)), model, output="embedding").write.parquet(str(target))

    try:
        yield run
    finally:
        session.stop()
