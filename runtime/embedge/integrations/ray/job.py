"""``embed_dataset``: a Ray Data job with one actor for each core or GPU, which can go on where it was killed."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedge.errors import InputValueError
from embedge.inference.options import check_count
from embedge.integrations.extra import needs_extra
from embedge.integrations.ray.batches import EmbedBatches, RerankBatches, SparseBatches
from embedge.integrations.ray.resources import count_resource, cpus_of_an_actor
from embedge.integrations.ray.resume import checkpoint_config

with needs_extra("ray"):
    import ray
    from ray.data import ActorPoolStrategy

if TYPE_CHECKING:
    from ray.data import Dataset

# 5,000 vectors of 384 dimensions are 8 MB, and a core of a laptop embeds 5,000 short texts in about 7 s.
BLOCK_ROWS = 5_000


def embed_dataset(
    ds: Dataset,
    model: str | PathLike[str],
    *,
    column: str = "text",
    cpus: int | None = None,
    gpus: int | None = None,
    id_column: str | None = None,
    checkpoint: str | PathLike[str] | None = None,
    block_rows: int = BLOCK_ROWS,
    batches: type[EmbedBatches | SparseBatches | RerankBatches] = EmbedBatches,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the dataset with the model's output as new columns; like all of Ray Data's datasets, it runs when used.

    The rows are cut into blocks of ``block_rows``. A block is what an actor embeds in one call, what ``write_parquet``
    writes as one file, and what a checkpoint keeps: a job that is killed loses the blocks that it has not written yet.

    A job that fails keeps its actors, and their CPUs, as long as its exception is kept (Ray 2.60). In a notebook, call
    ``ray.shutdown()`` after an error: the next job would wait for those CPUs forever.

    Args:
        ds: the dataset. For a checkpoint it must come from ``ray.data.read_parquet`` or another reader of files.
        model: the name of a recipe, a hub id, or the path of a bundle, which every node must have.
        column: the column of the texts; of the documents for ``RerankBatches``.
        cpus: how many actors of one core each; None takes one for each CPU of the cluster.
        gpus: how many actors of one GPU each, in the place of ``cpus``; they get ``device="cuda"``.
        id_column: the column that names a row, in messages and in the checkpoint; there its values must be unique.
        checkpoint: a folder on storage that all nodes see, for the ids of the rows that are written. A job with the
            same folder leaves those rows out. The job must end in a write of files, such as ``write_parquet``. The
            folder stays when the job ends, so that another run adds nothing; delete it to start from the beginning. It
            becomes part of ``ds.context``, which ``ds`` and all datasets made of it share.
        block_rows: the number of rows of a block.
        batches: ``EmbedBatches``, ``SparseBatches`` or ``RerankBatches``.
        options: more arguments of ``batches``, such as ``{"truncate_dim": 256}``.

    Raises:
        InputTypeError: a number has the wrong type.
        InputValueError: the cluster has fewer CPUs or GPUs, ``cpus`` and ``gpus`` are both given, or there is a
            checkpoint without an ``id_column``.
    """
    if cpus is not None and gpus is not None:
        raise InputValueError("found both cpus and gpus; pass one of them: an actor runs on a core or on a GPU")
    rows = check_count("block_rows", block_rows) or BLOCK_ROWS
    if not ray.is_initialized():
        ray.init()
    actors = count_resource("GPU", gpus) if gpus is not None else count_resource("CPU", cpus)
    config = None if checkpoint is None else checkpoint_config(checkpoint, id_column)
    on_device = {} if gpus is None else {"device": "cuda", "threads": None}
    where = Path(model).absolute() if Path(model).is_dir() else model  # workers may run in another directory
    arguments = {"model": where, "column": column, "id_column": id_column, **on_device, **(options or {})}
    job = ds.repartition(target_num_rows_per_block=rows).map_batches(
        batches,
        fn_constructor_kwargs=arguments,
        batch_format="pyarrow",
        batch_size=None,  # a block
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=actors),
        num_cpus=cpus_of_an_actor(actors, resumes=config is not None),
        num_gpus=None if gpus is None else 1,
        udf_modifying_row_count=False,
    )
    if config is not None:
        job.context.checkpoint_config = config
    return job
