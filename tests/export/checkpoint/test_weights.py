"""The weights are read from the files that transformers reads; a missing shard is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoint_folder import put, read, token_ids
from embedge import CheckpointError, Embedder
from embedge_export import export

MakeCheckpoint = Callable[..., Path]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


def save_as(folder: Path, layout: str, seed: int, make: MakeCheckpoint) -> None:
    """Write the weights of a seed into the folder, in one of the four layouts that transformers knows."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(make(seed=seed) / "model.safetensors")
    suffix = "safetensors" if "safetensors" in layout else "bin"
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    save: Any = save_file if suffix == "safetensors" else torch.save
    if "index" not in layout:
        save(tensors, folder / f"{stem}.{suffix}")
        return
    homes = {name: f"{stem}-0000{1 + n % 2}-of-00002.{suffix}" for n, name in enumerate(tensors)}
    for home in set(homes.values()):
        save({name: tensors[name] for name in tensors if homes[name] == home}, folder / home)
    put(folder / f"{stem}.{suffix}.index.json", {"metadata": {}, "weight_map": homes})


LAYOUTS = ("safetensors", "safetensors index", "bin", "bin index")


@pytest.mark.parametrize("first", range(4))
def test_the_weights_that_transformers_reads_are_read(
    folder: Path, tmp_path: Path, make_checkpoint: MakeCheckpoint, first: int
) -> None:
    """Each layout in the folder has other weights."""
    import torch
    from transformers import AutoModel

    (folder / "model.safetensors").unlink()
    for seed, layout in enumerate(LAYOUTS[first:], 10):
        save_as(folder, layout, seed, make_checkpoint)
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    model = Embedder(bundle.path)
    ids = token_ids(bundle, "the cat")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder)(input_ids=torch.tensor([ids])).last_hidden_state
    np.testing.assert_allclose(model.encode("the cat", normalize=False), hidden[0, 0].numpy(), atol=1e-4)


@pytest.mark.parametrize("layout", ["safetensors index", "bin index"])
def test_a_shard_that_is_missing_is_named(folder: Path, make_checkpoint: MakeCheckpoint, layout: str) -> None:
    (folder / "model.safetensors").unlink()
    save_as(folder, layout, 0, make_checkpoint)
    (shard,) = folder.glob("*-00002-of-*")
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"holds no {shard.name}, which .*index.json names"):
        read(folder)


@pytest.mark.parametrize("value", [{}, {"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../x"}}])
def test_an_index_that_is_not_valid_is_refused(folder: Path, value: object) -> None:
    (folder / "model.safetensors").rename(folder.parent / "x")
    put(folder / "model.safetensors.index.json", value)
    with pytest.raises(CheckpointError, match="has no weight_map|holds no x, which"):
        read(folder)
