"""Tokenizer: the counts and truncation of an Embedder, without ONNX Runtime."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embedge import (
    Bundle,
    BundleCorruptError,
    BundleNotFoundError,
    Embedder,
    InputTypeError,
    InputValueError,
    Tokenizer,
)

TEXTS = ["", "the cat", "cat " * 100, "a dog sat on a stone ."]


@pytest.fixture
def copy_of_tiny(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle.path, tmp_path / "copy")


def test_counts_are_those_of_the_embedder(tiny: Embedder, tiny_bundle: Bundle) -> None:
    tokenizer = Tokenizer(tiny_bundle.path)
    assert tokenizer.count_tokens(TEXTS) == tiny.count_tokens(TEXTS)
    assert tokenizer.count_tokens("the cat") == 4
    assert tokenizer.count_tokens([]) == []
    assert (tokenizer.max_tokens, tokenizer.prompts) == (tiny.max_tokens, tiny.prompts)
    assert tokenizer.bundle.path == tiny_bundle.path
    assert repr(tokenizer) == f"Tokenizer({tiny_bundle.manifest.model!r}, max_tokens={tiny.max_tokens})"


def test_what_is_truncated_is_what_the_embedder_warns_about(tiny: Embedder, tiny_bundle: Bundle) -> None:
    tokenizer = Tokenizer(tiny_bundle.path)
    fits = "cat " * (tiny.max_tokens - 2)
    texts = ["the cat", fits, fits + "cat", "a" * 1_000_000]
    assert tokenizer.is_truncated(texts)[:3] == [False, False, True]
    for text, is_truncated in zip(texts, tokenizer.is_truncated(texts), strict=True):
        assert tokenizer.is_truncated(text) is is_truncated
        if is_truncated:
            with pytest.raises(InputValueError, match="1 of 1 texts are longer"):
                tiny.encode(text, on_truncate="error")
        else:
            tiny.encode(text, on_truncate="error")


def test_a_prompt_counts(tiny_bundle: Bundle) -> None:
    tokenizer = Tokenizer(tiny_bundle.path)
    query = tokenizer.prompts["query"]
    assert tokenizer.count_tokens("the cat", prompt_name="query") == tokenizer.count_tokens(query + "the cat")
    assert tokenizer.count_tokens(["the cat"], prompt="a dog ") == [6]
    full = "cat " * (tokenizer.max_tokens - 2)
    assert (tokenizer.is_truncated(full), tokenizer.is_truncated(full, prompt="a ")) == (False, True)
    with pytest.raises(InputValueError, match="no prompt is called 'nothing'"):
        tokenizer.count_tokens("a", prompt_name="nothing")


def test_other_input_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    tokenizer = Tokenizer(tiny_bundle.path)
    for method in (tokenizer.count_tokens, tokenizer.is_truncated):
        with pytest.raises(InputTypeError, match="text 1 must be a string, found int"):
            method(["a", 1])  # type: ignore[list-item]
        with pytest.raises(InputValueError, match="text 0"):
            method(["\ud800"])
    with pytest.raises(BundleNotFoundError):
        Tokenizer(tmp_path / "nowhere")


def test_a_changed_tokenizer_is_refused(copy_of_tiny: Path) -> None:
    path = copy_of_tiny / "tokenizer.json"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleCorruptError, match="tokenizer.json"):
        Tokenizer(copy_of_tiny)


def test_no_graph_is_needed(copy_of_tiny: Path) -> None:
    """Neither the graph's files nor ONNX Runtime."""
    for file in (copy_of_tiny / "onnx").iterdir():
        file.write_bytes(b"")
    script = (
        f"import sys; from embedge import Tokenizer; print(Tokenizer({str(copy_of_tiny)!r}).count_tokens('the cat'));"
        "print([name for name in ('onnxruntime', 'embedge.inference.session') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n[]\n"
