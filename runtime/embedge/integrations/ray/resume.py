"""The configuration of Ray Data's checkpoints, with which a killed job goes on.

Before Ray writes a file, it writes the ids of the file's rows beside it as "pending", and renames them when the file is
whole. A job that starts with the same folder deletes the files of pending ids, and leaves out the rows of the others.
So no row is lost, and none is there twice.
"""

from __future__ import annotations

from os import PathLike, fspath

from embedge.errors import InputValueError
from embedge.integrations.extra import needs_extra

with needs_extra("ray"):
    from ray.data.checkpoint import CheckpointConfig

# Ray reserves 1 GiB for the actor that leaves rows out, and waits forever where that is more than it counts as memory.
# It raises the number to what the ids need. Such an actor was seen to take 0.2 GB.
_FILTER_BYTES = 256 << 20


def checkpoint_config(folder: str | PathLike[str], id_column: str | None) -> CheckpointConfig:
    """Return the configuration of a job that keeps the ids of its rows in a folder.

    Raises:
        InputValueError: there is no ``id_column``.
    """
    if id_column is None:
        raise InputValueError("a checkpoint needs the column of the rows' ids, found none; pass id_column='id'")
    config = CheckpointConfig(id_column=id_column, checkpoint_path=fspath(folder), delete_checkpoint_on_success=False)
    config.checkpoint_actor_pool_max_size = 1  # each would reserve a CPU, and one compares millions of ids a second
    config.checkpoint_actor_memory_bytes = _FILTER_BYTES
    return config
