"""read.py: a file that is not valid, or that cannot be read, is a CheckpointError."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoint_folder import read
from embedge import CheckpointError
from embedge_export import export
from embedge_export.checkpoint.open_tokenizer import tokenizer_errors

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
READ = [
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
    "tokenizer.json",
]
HOSTILE: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "no JSON": lambda path: path.write_text("{"),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "another type": lambda path: path.write_text('"text"'),
    "null": lambda path: path.write_text("null"),
    "deep": lambda path: path.write_text('{"prompts":' + "[" * 200_000 + "]" * 200_000 + "}"),
    "an endless number": lambda path: path.write_text('{"max_seq_length": 1e400}'),
    "NaN": lambda path: path.write_text('{"hidden_size": NaN}'),
    "a long number": lambda path: path.write_text('{"hidden_size": ' + "9" * 10_000 + "}"),
    "half a surrogate pair": lambda path: path.write_text('{"prompts": {"query": "\\ud800"}}'),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_not_valid_is_a_checkpoint_error(folder: Path, name: str, what: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    HOSTILE[what](path)
    with pytest.raises(CheckpointError, match=re.escape(str(folder))) as seen:
        read(folder)
    assert "\n" not in str(seen.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_read_permission_is_a_checkpoint_error(folder: Path) -> None:
    (folder / "config.json").chmod(0)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(folder)


def test_any_error_of_the_tokenizers_library_is_a_checkpoint_error(folder: Path) -> None:
    class PanicException(BaseException):
        """Like that of pyo3."""

        __module__ = "pyo3_runtime"

    for error in (PanicException("index out of bounds"), Exception("bare"), IndexError("none")):
        with pytest.raises(CheckpointError, match="is not a tokenizer"), tokenizer_errors(folder):
            raise error
    with pytest.raises(KeyboardInterrupt), tokenizer_errors(folder):
        raise KeyboardInterrupt


def test_a_directory_whose_name_is_not_unicode_is_a_checkpoint_error(folder: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    folder.rename(odd)
    with pytest.raises(CheckpointError, match="is not valid Unicode.*; rename"):
        export(odd, tmp_path / "b", verify=False)
    assert not (tmp_path / "b").exists()
