"""A directory to a Checkpoint: config, tokenizer, pooling, prompts; its tensors on demand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedge.bundle.manifest import TOKENIZER, Pooling, Side, Similarity, Task
from embedge.errors import CheckpointError
from embedge_export.checkpoint.fetch import MULTI_VECTOR_HEAD, SPARSE_HEAD, Fetched
from embedge_export.checkpoint.file_hash import Hashes, hash_files
from embedge_export.checkpoint.json_file import read_json
from embedge_export.checkpoint.module_list import ModuleList, check_modules, read_modules, read_pooling
from embedge_export.checkpoint.recipe import Recipe
from embedge_export.checkpoint.sentence_settings import (
    LENGTH_FILES,
    PROMPT_FILE,
    read_length_settings,
    read_prompt_settings,
)
from embedge_export.checkpoint.tokenizer_settings import FILES, TokenizerFile, read_tokenizer
from embedge_export.checkpoint.weight_files import check_no_adapter, find_weights

# Models whose positions count on from the padding token's id, over the tokens that are none; and one that counts on
# from 1 whatever its config says. (transformers: create_position_ids_from_input_ids, and MPNetEmbeddings.)
_FROM_PADDING = (
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
_FROM_ONE = ("mpnet",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a trainer saved, read but for its tensors.

    Attributes:
        fetched: its files, and where they came from.
        like: the recipe that was named for what the files do not say; None for the checkpoint's own.
        directory: where config.json, tokenizer and weights are: the checkpoint's own directory, or a folder in it.
        task: ``embed`` or ``rerank``.
        config: ``config.json``.
        tokenizer: its tokenizer, with all that its files say of it.
        weights: the files that hold its tensors; safetensors, or torch's pickles where there are none.
        sparse_head: the file with the layer that gives weights of tokens, if there is one.
        multi_vector_head: the file with the layer that gives vectors of tokens, if there is one.
        hashes: what makes it another checkpoint.
        pooling: ``cls``, ``mean`` or ``last``.
        normalize: whether vectors are scaled to length 1.
        similarity: how two vectors are compared.
        prompts: text put in front of an input, by kind.
        default_prompt: name of the prompt that ``encode`` uses when told none.
        max_tokens: longest text in tokens, special ones included.
        dimension: of a vector; a reranker's 1, its number of scores.
        licence: SPDX identifier; None where unknown.
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
        """SHA-256 over every file of it that is read, in hex."""
        return self.hashes.now

    @property
    def truncation_side(self) -> Side:
        """The end of a long text that is cut off."""
        return self.tokenizer.truncation_side

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
    except OSError as error:
        raise CheckpointError(f"{fetched.directory} cannot be read ({error}); get the checkpoint again") from error
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{fetched.directory} has a config with a value of the wrong type ({error!r}); get the checkpoint again"
        ) from error


def _read(fetched: Fetched, like: Recipe | None, pooling: Pooling | None) -> Checkpoint:
    root, recipe = fetched.directory, like or fetched.recipe
    modules = read_modules(root)
    folder = modules.encoder
    check_no_adapter(folder)
    config = read_json(folder / "config.json")
    if config is None:
        raise CheckpointError(f"{folder} holds no config.json, so it is no checkpoint; `embedge export --help`")
    task = _find_task(folder, config)
    _check_own_code(folder, config)
    check_modules(modules, task)
    lengths, saved = read_length_settings(folder), read_prompt_settings(root)
    tokenizer = read_tokenizer(folder, config, lengths)
    weights = find_weights(folder)
    heads = [root / name for name in (SPARSE_HEAD, MULTI_VECTOR_HEAD)]
    _check_heads(fetched.recipe, heads)
    sparse_head, multi_vector_head = (head if task == "embed" and head.is_file() else None for head in heads)
    wanted = (
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
        hashes=_hashes(root, modules, weights, heads),
        pooling="cls" if task == "rerank" else read_pooling(modules.pooling, recipe.pooling if recipe else pooling),
        normalize=modules.normalize or task == "rerank",
        similarity=saved.similarity,
        prompts=saved.prompts or (recipe.prompts if recipe else {}),
        default_prompt=saved.default_prompt,
        max_tokens=_max_tokens(folder, config, wanted),
        dimension=1 if task == "rerank" else hidden_size(config),
        licence=fetched.recipe.licence if fetched.recipe else None,
    )


def _hashes(root: Path, modules: ModuleList, weights: Sequence[Path], heads: Sequence[Path]) -> Hashes:
    folder = modules.encoder
    always = (*weights, folder / "config.json", folder / TOKENIZER, modules.pooling, *heads)
    beside = (*FILES, *LENGTH_FILES)
    return hash_files(root, always=always, since=(*(folder / n for n in beside), modules.file, root / PROMPT_FILE))


def hidden_size(config: Mapping[str, Any]) -> int:
    """Width of a hidden state, by whichever name ``config.json`` has for it; 0 where it has none."""
    return int(config.get("hidden_size") or config.get("dim") or config.get("d_model") or 0)


def _check_own_code(folder: Path, config: Mapping[str, Any]) -> None:
    """Raises CheckpointError where config.json names a model of the checkpoint's own code.

    transformers takes its own class of that model_type where it may not run such code; the weights were trained in the
    other.
    """
    own = config.get("auto_map") or {}
    for name in ("AutoModel", "AutoModelForSequenceClassification"):
        if name in own:
            raise CheckpointError(
                f"{folder / 'config.json'} names a model of the checkpoint's own code, {own[name]} (auto_map), which "
                f"is not run; if transformers' own {config.get('model_type')} gives its vectors, delete auto_map there"
            )


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


def _max_tokens(folder: Path, config: Mapping[str, Any], wanted: int | None) -> int:
    """The trainer's limit, at most the positions that there are."""
    positions = int(config.get("max_position_embeddings", 512))
    if config.get("model_type") in (*_FROM_PADDING, *_FROM_ONE):
        padding = 1 if config["model_type"] in _FROM_ONE else int(config.get("pad_token_id", 1) or 0)
        if padding + 1 >= positions:
            raise CheckpointError(
                f"{folder / 'config.json'} has pad_token_id {padding} and {positions} positions, and those of "
                "texts begin behind it; get it again"
            )
        positions -= padding + 1
    # transformers writes 1e30 for "no limit".
    tokens = min(positions, positions if wanted is None else wanted)
    if tokens < 3:
        raise CheckpointError(f"{folder} has room for {tokens} tokens; 3 are the least that hold a text")
    return tokens
