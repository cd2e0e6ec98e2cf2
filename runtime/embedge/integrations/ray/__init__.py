"""Ray Data: a model on the rows of a dataset, one actor for each core or GPU.

    import ray
    from embedge.integrations.ray import embed_dataset

    ds = ray.data.read_parquet("/mnt/documents")
    ds = embed_dataset(ds, "bge-small-en-v1.5", column="text", id_column="id", checkpoint="/mnt/checkpoint")
    ds.write_parquet("/mnt/vectors")

``embed_dataset`` sets up the whole job, and a job with a checkpoint goes on where it was killed. To set it up yourself,
pass the callable classes to Ray's ``map_batches``:

    from ray.data import ActorPoolStrategy
    from embedge.integrations.ray import EmbedBatches

    ds.map_batches(
        EmbedBatches,
        fn_constructor_kwargs={"model": "bge-small-en-v1.5", "column": "text"},
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=15),  # on a machine of 16 cores: reads and writes need a CPU, too
        num_cpus=1,
    )

``SparseBatches`` and ``RerankBatches`` write lexical weights and the scores of a reranker.
"""

from embedge.integrations.ray.batches import EmbedBatches, RerankBatches, SparseBatches
from embedge.integrations.ray.job import embed_dataset

__all__ = ["EmbedBatches", "RerankBatches", "SparseBatches", "embed_dataset"]
