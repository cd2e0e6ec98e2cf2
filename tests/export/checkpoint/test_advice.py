"""The commands in the errors for a missing tokenizer or an adapter work; the oracle is PEFT."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoint_folder import put, read, token_ids
from embedge import CheckpointError, Embedder
from embedge_export import export

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
TEXTS = ["the cat sat on the mat", "bread", "how do i bake bread ?"]


def commands(error: BaseException) -> list[str]:
    """The commands that a message has in backticks."""
    return re.findall("`(python .*?)`", str(error), re.DOTALL)


def run_in_shell(command: str) -> None:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, (command, done.stderr)


ODD = 'it\'s a "model" $HOME & co'


def test_the_command_that_makes_a_tokenizer_runs_in_any_folder(folder: Path, tmp_path: Path) -> None:
    """Even if the folder's name has quotes and spaces; and the result can be exported."""
    from tokenizers import Tokenizer

    odd = folder.rename(tmp_path / ODD)
    vocabulary = Tokenizer.from_file(str(odd / "tokenizer.json")).get_vocab()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    (odd / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    expected = export(odd, tmp_path / "a", precisions=("fp32",), verify=False).path
    (odd / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="holds no tokenizer.json") as seen:
        read(odd)
    (command,) = commands(seen.value)
    run_in_shell(command)
    found = export(odd, tmp_path / "b", precisions=("fp32",), verify=False).path
    np.testing.assert_array_equal(Embedder(found).encode(TEXTS), Embedder(expected).encode(TEXTS))


def test_an_adapter_alone_names_the_command_that_merges_it(folder: Path, tmp_path: Path) -> None:
    """The merged model gives PEFT's vectors."""
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModel

    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", target_modules=["query", "value"], init_lora_weights=False)
    model = peft.get_peft_model(AutoModel.from_pretrained(folder), config).eval()
    adapter = tmp_path / ODD
    ignore = shutil.ignore_patterns("model.safetensors", "config.json")
    shutil.copytree(folder, adapter, ignore=lambda at, names: ignore(at, names) if Path(at) == folder else [])
    model.save_pretrained(str(adapter))
    with pytest.raises(CheckpointError, match="holds an adapter .* merge it first") as seen:
        read(adapter)
    (command,) = commands(seen.value)
    run_in_shell(command)
    merged = Embedder(export(f"{adapter}-merged", tmp_path / "b", precisions=("fp32",), verify=False).path)
    ids = token_ids(merged.bundle, TEXTS[0])
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0, 0].numpy()
    found: NDArray[np.float32] = merged.encode(TEXTS[0], normalize=False)
    np.testing.assert_allclose(found, hidden, atol=1e-4)


def test_an_adapter_beside_weights_is_not_ignored(folder: Path) -> None:
    put(folder / "adapter_config.json", {"peft_type": "LORA"})
    with pytest.raises(CheckpointError, match="delete adapter_config.json if the adapter is already merged"):
        read(folder)
