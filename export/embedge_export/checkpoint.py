"""A directory to a Checkpoint: config, tokenizer, pooling, prompts; its tensors on demand."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge.manifest import Task
from embedge.pool import Pooling
from embedge_export.fetch import MULTI_VECTOR_HEAD, SPARSE_HEAD, Fetched
from embedge_export.recipe import Recipe

_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
# sentence-transformers 5 writes one pooling_mode; before, one boolean for each.
_POOLINGS: Mapping[str, Pooling] = {
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a trainer saved, read but for its tensors.

    Attributes:
        fetched: its directory, and where it came from.
        like: the recipe that was named for what the files do not say; None for the checkpoint's own.
        task: ``embed`` or ``rerank``.
        config: ``config.json``.
        weights: the files that hold its tensors; safetensors, or torch's pickles where there are none.
        sparse_head: the file with the layer that gives weights of tokens, if there is one.
        multi_vector_head: the file with the layer that gives vectors of tokens, if there is one.
        sha256: SHA-256 over its weights, config, tokenizer and pooling: what makes it another checkpoint.
        pooling: ``cls``, ``mean`` or ``last``.
        prompts: text put in front of an input, by kind.
        default_prompt: name of the prompt that ``encode`` uses when told none.
        max_tokens: longest text in tokens, special ones included.
        dimension: of a vector; a reranker's 1, its number of scores.
        licence: SPDX identifier; None where unknown.
    """

    fetched: Fetched
    like: str | None
    task: Task
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    sparse_head: Path | None
    multi_vector_head: Path | None
    sha256: str
    pooling: Pooling
    prompts: Mapping[str, str]
    default_prompt: str | None
    max_tokens: int
    dimension: int
    licence: str | None

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self.fetched.directory

    @property
    def architecture(self) -> str:
        """The config's ``model_type``, such as ``bert``."""
        return str(self.config.get("model_type", "unknown"))


def read_checkpoint(fetched: Fetched, *, like: Recipe | None = None, pooling: Pooling | None = None) -> Checkpoint:
    """A checkpoint's description, from its files; where they are silent, from ``like`` or its own recipe.

    Args:
        fetched: its directory, and where it came from.
        like: recipe of the checkpoint that this one was fine-tuned from.
        pooling: what it is where neither files nor a recipe say.

    Raises:
        CheckpointError: a file is missing or says something that cannot be exported.
    """
    try:
        return _read(fetched, like, pooling)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{fetched.directory} has a config with a value of the wrong type ({error!r}); get the checkpoint again"
        ) from error


def _read(fetched: Fetched, like: Recipe | None, pooling: Pooling | None) -> Checkpoint:
    folder, recipe = fetched.directory, like or fetched.recipe
    config = read_json(folder / "config.json")
    if config is None:
        raise CheckpointError(f"{folder} holds no config.json, so it is no checkpoint; `embedge export --help`")
    task = _find_task(folder, config)
    lowercases = _check_tokenizer(folder, config)
    if (read_json(folder / "sentence_bert_config.json") or {}).get("do_lower_case") and not lowercases:
        raise CheckpointError(
            f"{folder} lowercases outside its tokenizer; put a Lowercase normalizer in tokenizer.json"
        )
    pooling_config = _find_pooling(folder)
    weights = _find_weights(folder)
    heads = [folder / name for name in (SPARSE_HEAD, MULTI_VECTOR_HEAD)]
    _check_heads(fetched.recipe, heads)
    sparse_head, multi_vector_head = (head if task == "embed" and head.is_file() else None for head in heads)
    saved = read_json(folder / "config_sentence_transformers.json") or {}
    prompts = {name: text for name, text in (saved.get("prompts") or {}).items() if text}
    default = saved.get("default_prompt_name")
    return Checkpoint(
        fetched=fetched,
        like=like.name if like else None,
        task=task,
        config=config,
        weights=weights,
        sparse_head=sparse_head,
        multi_vector_head=multi_vector_head,
        sha256=_hash((*weights, folder / "config.json", folder / "tokenizer.json", pooling_config, *heads)),
        pooling="cls" if task == "rerank" else _pooling(pooling_config, recipe.pooling if recipe else pooling),
        prompts=prompts or (recipe.prompts if recipe else {}),
        default_prompt=default if default in prompts else None,
        max_tokens=_max_tokens(folder, config, recipe),
        dimension=1 if task == "rerank" else hidden_size(config),
        licence=fetched.recipe.licence if fetched.recipe else None,
    )


def hidden_size(config: Mapping[str, Any]) -> int:
    """Width of a hidden state, by whichever name ``config.json`` has for it; 0 where it has none."""
    return int(config.get("hidden_size") or config.get("dim") or config.get("d_model") or 0)


def _check_heads(recipe: Recipe | None, heads: Sequence[Path]) -> None:
    """Raises CheckpointError where a file of a recipe's own is not there: the bundle would give less than it says."""
    wanted = (recipe.sparse, recipe.multi_vector) if recipe else (False, False)
    for is_wanted, head in zip(wanted, heads, strict=True):
        if is_wanted and not head.is_file():
            raise CheckpointError(f"{head.parent} lacks {head.name}; get the checkpoint again, with a network")


def _find_task(folder: Path, config: Mapping[str, Any]) -> Task:
    """A classifier of one label scores pairs of texts; one of several is no reranker."""
    if not any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ()):
        return "embed"
    labels = len(config.get("id2label") or range(int(config.get("num_labels", 2))))
    if labels != 1:
        raise CheckpointError(
            f"{folder} is a classifier of {labels} labels; choose an embedder, or a reranker, which has one"
        )
    return "rerank"


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); get the checkpoint again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object, found {type(data).__name__}; get the checkpoint again")
    return data


def _check_tokenizer(folder: Path, config: Mapping[str, Any]) -> bool:
    """The tokenizer loads, and the model has an embedding for every id it can give; returns whether it lowercases."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no tokenizer.json; "
            f"`python -c \"from transformers import AutoTokenizer as T; T.from_pretrained('{folder}')"
            f".save_pretrained('{folder}')\"` makes one"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
        highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"{path} is not a tokenizer ({error}); get the checkpoint again") from error
    rows = config.get("vocab_size", 0)
    if highest >= rows:
        raise CheckpointError(
            f"{path} gives ids up to {highest}, but config.json has vocab_size {rows}; they must agree"
        )
    return tokenizer.normalizer is not None and tokenizer.normalizer.normalize_str("A") == "a"


def _find_pooling(folder: Path) -> Path:
    """The pooling's config, where modules.json says; it may not exist. A bundle has no layers after pooling."""
    path = folder / "modules.json"
    if not path.is_file():
        return folder / "1_Pooling" / "config.json"
    paths: dict[str, str] = {}
    try:
        for module in json.loads(path.read_text(encoding="utf-8")):
            paths[module["type"].rpartition(".")[2]] = module.get("path", "")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read ({error!r}); get the checkpoint again") from error
    if unknown := [kind for kind in paths if kind not in _KNOWN_MODULES]:
        raise CheckpointError(f"{path} has a {unknown[0]} layer; only {', '.join(_KNOWN_MODULES)} can be exported")
    if paths.get("Transformer") or "Pooling" not in paths:
        raise CheckpointError(f"{path} must have a Transformer in the directory itself, and a Pooling; save it anew")
    return folder / paths["Pooling"] / "config.json"


def _find_weights(folder: Path) -> tuple[Path, ...]:
    index = read_json(folder / "model.safetensors.index.json")
    names = sorted(set(index["weight_map"].values())) if index else ["model.safetensors"]
    files = tuple(folder / name for name in names)
    if all(file.is_file() for file in files):
        return files
    pickles = tuple(sorted(folder.glob("pytorch_model*.bin")))
    if not pickles or index:
        missing = next(file.name for file in files if not file.is_file())
        raise CheckpointError(f"{folder} holds no {missing}; get the checkpoint again, with its weights")
    return pickles


def _hash(files: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for file in filter(Path.is_file, files):
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _pooling(path: Path, otherwise: Pooling | None) -> Pooling:
    found, folder = read_json(path), path.parent.parent
    if found is None:
        if otherwise is None:
            raise CheckpointError(
                f"{folder} does not say how it pools (no {path.parent.name}/config.json); "
                "add `--like RECIPE` with the recipe it was fine-tuned from, such as `--like bge-small-en-v1.5`"
            )
        return otherwise
    modes = found.get("pooling_mode")
    if modes is None:
        modes = [key for key, value in found.items() if key.startswith("pooling_mode_") and value is True]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise CheckpointError(
            f"{folder} pools by {' + '.join(modes) or 'nothing'}; only cls, mean or last can be exported"
        )
    if found.get("include_prompt") is False:
        raise CheckpointError(f"{folder} leaves the prompt out of its pooling, which cannot be exported")
    return _POOLINGS[modes[0]]


def _max_tokens(folder: Path, config: Mapping[str, Any], recipe: Recipe | None) -> int:
    """The trainer's limit, at most the positions that there are."""
    positions = int(config.get("max_position_embeddings", 512))
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= 2  # their first position is padding_idx + 1
    saved = read_json(folder / "sentence_bert_config.json") or {}
    tokenizer = read_json(folder / "tokenizer_config.json") or {}
    wanted = saved.get("max_seq_length") or (recipe.max_tokens if recipe else tokenizer.get("model_max_length"))
    # transformers writes 1e30 for "no limit".
    tokens = min(positions, int(wanted or positions))
    if tokens < 3:
        raise CheckpointError(f"{folder} has room for {tokens} tokens; 3 are the least that hold a text")
    return tokens
