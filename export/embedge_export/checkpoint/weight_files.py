"""Which files hold a checkpoint's weights: the order is that of transformers."""

from pathlib import Path

from embedge.errors import CheckpointError
from embedge_export.checkpoint.json_file import read_json
from embedge_export.python_line import python_line

_ADAPTER = "adapter_config.json"
# transformers (modeling_utils.py, 4.57) takes the first of these that is there; after each, its index of shards.
_NAMES = ("model.safetensors", "pytorch_model.bin")


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The files with the weights of the encoder in a folder; safetensors, or torch's pickles where there are none.

    Raises:
        CheckpointError: there are none, or a shard is missing.
    """
    for name in _NAMES:
        if (folder / name).is_file():
            return (folder / name,)
        if shards := _shards(folder / f"{name}.index.json"):
            return shards
    raise CheckpointError(f"{folder} holds no {' or '.join(_NAMES)}; get the checkpoint again, with its weights")


def _shards(index: Path) -> tuple[Path, ...]:
    """The files that an index names; none where there is no index."""
    found = read_json(index)
    if found is None:
        return ()
    homes = found.get("weight_map")
    if not isinstance(homes, dict) or not homes or not all(isinstance(name, str) for name in homes.values()):
        raise CheckpointError(f"{index} has no weight_map from tensors to files; get the checkpoint again")
    shards = tuple(index.parent / name for name in sorted(set(homes.values())))
    for shard in shards:
        if shard.parent != index.parent or not shard.is_file():
            raise CheckpointError(
                f"{index.parent} holds no {shard.name}, which {index.name} names; get the checkpoint again, with all "
                "its weights"
            )
    return shards


def check_no_adapter(folder: Path) -> None:
    """Raises CheckpointError where a folder holds a LoRA or another adapter of PEFT.

    transformers puts it on top of the weights of another checkpoint, whatever weights lie beside it.
    """
    adapter = read_json(folder / _ADAPTER)
    if adapter is None:
        return
    found = f"{folder} holds an adapter ({_ADAPTER}), which is no model of its own"
    if any((folder / name).is_file() for name in _NAMES):
        raise CheckpointError(f"{found}; if the weights beside it have it merged into them, delete {_ADAPTER}")
    kind = "SequenceClassification" if adapter.get("task_type") == "SEQ_CLS" else "FeatureExtraction"
    before, after = str(folder), f"{folder}-merged"
    code = (
        f"import shutil; from peft import AutoPeftModelFor{kind} as M; "
        f"shutil.copytree({before!r}, {after!r}, ignore=shutil.ignore_patterns('adapter*')); "
        f"M.from_pretrained({before!r}).merge_and_unload().save_pretrained({after!r})"
    )
    raise CheckpointError(f"{found}; merge it first: {python_line(code)} makes {after}")
