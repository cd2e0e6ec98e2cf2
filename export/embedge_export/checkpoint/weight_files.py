"""Finds the files with a checkpoint's weights, in the same order as transformers."""

from pathlib import Path

from embedge.errors import CheckpointError
from embedge_export.checkpoint.json_file import read_json
from embedge_export.checkpoint.python_line import python_line

# bge-m3's repository has two linear layers in files beside the encoder. The sparse head has one output: the lexical
# weight of a token. The multi-vector head has as many outputs as the hidden state: the vector of a token.
SPARSE_HEAD, MULTI_VECTOR_HEAD = "sparse_linear.pt", "colbert_linear.pt"
_ADAPTER = "adapter_config.json"
# transformers (modeling_utils.py, 4.57) takes the first of these that exists; after each one, its index of shards.
_NAMES = ("model.safetensors", "pytorch_model.bin")


def find_weights(folder: Path) -> tuple[Path, ...]:
    """Return the files with the encoder's weights: safetensors, or torch's pickles if there are no safetensors.

    Raises:
        CheckpointError: the folder has no weights, or a shard is missing.
    """
    for name in _NAMES:
        if (folder / name).is_file():
            return (folder / name,)
        if shards := _shards(folder / f"{name}.index.json"):
            return shards
    raise CheckpointError(
        f"{folder} holds no {' or '.join(_NAMES)}; download or copy the checkpoint again, with its weights"
    )


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the files that an index names; none if the index does not exist."""
    data = read_json(index)
    if data is None:
        return ()
    files = data.get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        raise CheckpointError(f"{index} has no weight_map from tensors to files; download or copy the checkpoint again")
    shards = tuple(index.parent / name for name in sorted(set(files.values())))
    for shard in shards:
        if shard.parent != index.parent or not shard.is_file():
            raise CheckpointError(
                f"{index.parent} holds no {shard.name}, which {index.name} names; download or copy the checkpoint "
                "again, with all its weights"
            )
    return shards


def check_no_adapter(folder: Path) -> None:
    """Raise CheckpointError if a folder holds an adapter of PEFT, such as LoRA.

    transformers loads an adapter on top of another checkpoint's weights, even if there are weights beside it.
    """
    adapter = read_json(folder / _ADAPTER)
    if adapter is None:
        return
    fact = f"{folder} holds an adapter ({_ADAPTER}), which is not a whole model"
    if any((folder / name).is_file() for name in _NAMES):
        raise CheckpointError(f"{fact}; delete {_ADAPTER} if the adapter is already merged into the weights beside it")
    kind = "SequenceClassification" if adapter.get("task_type") == "SEQ_CLS" else "FeatureExtraction"
    source, target = str(folder), f"{folder}-merged"
    code = (
        f"import shutil; from peft import AutoPeftModelFor{kind} as M; "
        f"shutil.copytree({source!r}, {target!r}, ignore=shutil.ignore_patterns('adapter*')); "
        f"M.from_pretrained({source!r}).merge_and_unload().save_pretrained({target!r})"
    )
    raise CheckpointError(f"{fact}; merge it first: {python_line(code)} writes the whole model to {target}")
