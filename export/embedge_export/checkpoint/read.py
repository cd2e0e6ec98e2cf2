"""Reads a directory into a Checkpoint: config, tokenizer, pooling and prompts; the tensors are read later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedge.bundle.manifest import TOKENIZER, Pooling, Side, Similarity, Task
from embedge.errors import CheckpointError
from embedge_export.checkpoint.fetch import Fetched
from embedge_export.checkpoint.file_hash import Hashes, hash_files
from embedge_export.checkpoint.length_limit import limit_tokens
from embedge_export.checkpoint.model_config import check_no_own_code, find_task, hidden_size, read_config
from embedge_export.checkpoint.module_list import ModuleList, check_modules, read_modules, read_pooling
from embedge_export.checkpoint.recipe import Recipe
from embedge_export.checkpoint.sentence_settings import (
    LENGTH_FILES,
    PROMPT_FILE,
    read_length_settings,
    read_prompt_settings,
)
from embedge_export.checkpoint.tokenizer_settings import FILES, TokenizerFile, read_tokenizer
from embedge_export.checkpoint.weight_files import MULTI_VECTOR_HEAD, SPARSE_HEAD, check_no_adapter, find_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A trained model's files, read except for the tensors.

    Attributes:
        fetched: the files, and where they came from.
        like: name of the recipe that the user gave for settings that the files lack; None if the user gave none.
        directory: the folder with config.json, tokenizer and weights: the checkpoint's directory, or a folder in it.
        task: ``embed`` or ``rerank``.
        config: config.json.
        tokenizer: the tokenizer, with the settings of the files beside it applied.
        weights: the files with the tensors: safetensors, or torch's pickles if there are no safetensors.
        sparse_head: the file with the layer that computes token weights, or None.
        multi_vector_head: the file with the layer that computes token vectors, or None.
        hashes: hashes over all files that are read.
        pooling: ``cls``, ``mean`` or ``last``.
        normalize: whether vectors are scaled to length 1.
        similarity: the function that compares two vectors.
        prompts: texts to put in front of an input, by kind.
        default_prompt: name of the prompt that ``encode`` uses if the caller names none.
        max_tokens: longest text in tokens, with the special ones.
        dimension: dimension of a vector; 1 for a reranker, which gives one score.
        licence: SPDX identifier; None if unknown.
    """

    fetched: Fetched
    like: str | None
    directory: Path
    task: Task
    config: Mapping[str, Any]
    tokenizer: TokenizerFile = field(repr=False)
    weights: tuple[Path, ...]
    sparse_head: Path | None
    multi_vector_head: Path | None
    hashes: Hashes
    pooling: Pooling
    normalize: bool
    similarity: Similarity
    prompts: Mapping[str, str]
    default_prompt: str | None
    max_tokens: int
    dimension: int
    licence: str | None

    @property
    def sha256(self) -> str:
        """SHA-256 over every file that is read, in hex."""
        return self.hashes.current

    @property
    def truncation_side(self) -> Side:
        """The end of a long text that is cut off."""
        return self.tokenizer.truncation_side

    @property
    def architecture(self) -> str:
        """The ``model_type`` in config.json, such as ``bert``."""
        return str(self.config.get("model_type", "unknown"))


def read_checkpoint(fetched: Fetched, *, like: Recipe | None = None, pooling: Pooling | None = None) -> Checkpoint:
    """Read a checkpoint's files. Settings that they lack come from ``like``, else from the checkpoint's own recipe.

    Args:
        fetched: the checkpoint's files, and where they came from.
        like: recipe of the checkpoint that this one was fine-tuned from.
        pooling: the pooling if neither the files nor a recipe state it.

    Raises:
        CheckpointError: a file is missing, or states something that cannot be exported.
    """
    try:
        return _read(fetched, like, pooling)
    except OSError as error:
        raise CheckpointError(
            f"{fetched.directory} cannot be read ({error}); download or copy the checkpoint again"
        ) from error
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{fetched.directory} has a config with a value of the wrong type ({error!r}); download or copy the "
            "checkpoint again"
        ) from error


def _read(fetched: Fetched, like: Recipe | None, pooling: Pooling | None) -> Checkpoint:
    root, recipe = fetched.directory, like or fetched.recipe
    modules = read_modules(root)
    folder = modules.encoder
    check_no_adapter(folder)
    config = read_config(folder)
    task = find_task(folder, config)
    check_no_own_code(folder, config)
    check_modules(modules, task)
    lengths, saved = read_length_settings(folder), read_prompt_settings(root)
    tokenizer = read_tokenizer(folder, config, lengths)
    weights = find_weights(folder)
    heads = [root / name for name in (SPARSE_HEAD, MULTI_VECTOR_HEAD)]
    _check_heads(fetched.recipe, heads)
    sparse_head, multi_vector_head = (head if task == "embed" and head.is_file() else None for head in heads)
    length = (
        lengths.max_tokens if lengths.max_tokens is not None else recipe.max_tokens if recipe else tokenizer.max_tokens
    )
    return Checkpoint(
        fetched=fetched,
        like=like.name if like else None,
        directory=folder,
        task=task,
        config=config,
        tokenizer=tokenizer,
        weights=weights,
        sparse_head=sparse_head,
        multi_vector_head=multi_vector_head,
        hashes=_hash_checkpoint(root, modules, weights, heads),
        pooling="cls" if task == "rerank" else read_pooling(modules.pooling, recipe.pooling if recipe else pooling),
        normalize=modules.normalize or task == "rerank",
        similarity=saved.similarity,
        prompts=saved.prompts or (recipe.prompts if recipe else {}),
        default_prompt=saved.default_prompt,
        max_tokens=limit_tokens(folder, config, length),
        dimension=1 if task == "rerank" else hidden_size(config),
        licence=fetched.recipe.licence if fetched.recipe else None,
    )


def _hash_checkpoint(root: Path, modules: ModuleList, weights: Sequence[Path], heads: Sequence[Path]) -> Hashes:
    folder = modules.encoder
    legacy_files = (*weights, folder / "config.json", folder / TOKENIZER, modules.pooling, *heads)
    in_folder = (folder / name for name in (*FILES, *LENGTH_FILES))
    return hash_files(root, legacy_files=legacy_files, other_files=(*in_folder, modules.file, root / PROMPT_FILE))


def _check_heads(recipe: Recipe | None, heads: Sequence[Path]) -> None:
    """Raise CheckpointError if a head is missing that the recipe names: the bundle would lack its output."""
    wanted = (recipe.sparse, recipe.multi_vector) if recipe else (False, False)
    for is_wanted, head in zip(wanted, heads, strict=True):
        if is_wanted and not head.is_file():
            raise CheckpointError(f"{head.parent} lacks {head.name}; export again with the network to download it")
