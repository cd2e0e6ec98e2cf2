"""Embed a column with Spark, from Parquet to Parquet.

pip install 'embedge[arrow]' pyspark 'pandas<3', and Java 17 (Debian: apt-get install openjdk-17-jre-headless)
python examples/spark.py MODEL INPUT.parquet OUTPUT.parquet

MODEL is the path of a bundle that every worker can read, or a name, which each machine then downloads once.
"""

import sys
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

from embedge import Embedder
from embedge.integrations.tables import embed_rows


def embed_column(rows: DataFrame, model: str, *, column: str = "text", output: str = "vector") -> DataFrame:
    """Return the rows with their texts' vectors, array<float>. A null has a null vector.

    A task of Spark runs on one core, so the model does, too. Each task opens it once; its weights are mapped, and all
    processes of a machine share them.
    """

    def embed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        embedder = Embedder(model, threads=1)
        for batch in batches:
            rows = embed_rows(embedder, batch, column=column, output_column=output, on_invalid="null")
            # Spark 4 has no FixedSizeList, so the vectors become plain lists.
            lists = rows.column(output).cast(pa.list_(pa.float32()))
            yield rows.set_column(rows.num_columns - 1, output, lists)

    added = StructField(output, ArrayType(FloatType(), containsNull=False))
    return rows.mapInArrow(embed, StructType([*rows.schema.fields, added]))


def main(model: str, source: str, target: str) -> None:
    """Embed the column ``text`` of a Parquet file or folder."""
    # A batch is what one call of the model gets. Spark's 10,000 rows are fine; fewer need less memory.
    session = SparkSession.builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 4096).getOrCreate()
    embed_column(session.read.parquet(source), model).write.parquet(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
