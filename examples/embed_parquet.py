"""Embed a million documents from Parquet to Parquet with Ray Data. Kill it, run it again, and it goes on.

pip install 'embedge[export,ray]'
python examples/embed_parquet.py [MODEL [FOLDER [ROWS]]]

The first run writes FOLDER/documents. Every run embeds the rows that FOLDER/vectors lacks, and checks at its end that
each is there once:

    1,000,000 rows in 200 files, none lost, none doubled
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from embedge.integrations.ray import embed_dataset

WORDS = ["bread", "dough", "oven", "yeast", "flour", "water", "salt", "butter", "rice", "beans", "onion", "knife"]
FILES = 10


def write_documents(folder: Path, rows: int) -> None:
    """Write made-up documents of six words; a file that is there already was written whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, ids in enumerate(np.array_split(np.arange(rows), FILES)):
        path = folder / f"{number}.parquet"
        if path.exists():
            continue
        picks = np.random.default_rng(number).integers(len(WORDS), size=(len(ids), 6))
        texts = [" ".join(WORDS[pick] for pick in row) for row in picks]
        pq.write_table(pa.table({"id": ids, "text": texts}), path.with_suffix(".part"), row_group_size=10_000)
        path.with_suffix(".part").rename(path)


def check(folder: Path, rows: int) -> str:
    """Return what is in the files: every id must be there once."""
    ids = pq.read_table(folder, columns=["id"]).column("id").to_numpy()
    distinct = len(np.unique(ids))
    if (len(ids), distinct) != (rows, rows):
        raise SystemExit(f"{rows - distinct:,} rows lost, {len(ids) - distinct:,} doubled")
    return f"{rows:,} rows in {len(list(folder.iterdir()))} files, none lost, none doubled"


def main(model: str = "bge-small-en-v1.5", folder: str = "embedded", rows: str = "1_000_000") -> None:
    """Write the documents, embed them, and check the vectors' ids."""
    root, count = Path(folder).absolute(), int(rows)
    write_documents(root / "documents", count)
    ray.init(object_store_memory=500_000_000, include_dashboard=False)  # blocks are small
    ds = ray.data.read_parquet(str(root / "documents"), file_extensions=["parquet"])
    # A file for each 5,000 rows, or for each 20th part of fewer rows: what is lost if the job is killed.
    block = min(5_000, max(1, count // 20))
    job = embed_dataset(ds, model, id_column="id", checkpoint=root / "checkpoint", block_rows=block)
    job.write_parquet(str(root / "vectors"))
    ray.shutdown()
    print(check(root / "vectors", count))


if __name__ == "__main__":
    main(*sys.argv[1:])
