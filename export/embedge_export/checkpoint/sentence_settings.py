"""Reads the settings that sentence-transformers saves beside a model: length, prompts and similarity."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from embedge.bundle.manifest import Similarity
from embedge.errors import CheckpointError
from embedge_export.checkpoint.json_file import read_json

# The library reads the first of these that exists and is not empty (base/modules/transformer.py, load_config).
LENGTH_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
PROMPT_FILE = "config_sentence_transformers.json"
# Arguments of a model or config that change vectors at most by rounding.
_HARMLESS = {
    "add_pooling_layer",
    "attn_implementation",
    "device_map",
    "dtype",
    "low_cpu_mem_usage",
    "torch_dtype",
    "trust_remote_code",
    "use_safetensors",
}
# The output that an encoder is asked for, by the task that it was saved for. The first task is the library's default.
_OUTPUTS = {"feature-extraction": "last_hidden_state", "sequence-classification": "logits"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthSettings:
    """The settings in sentence_bert_config.json.

    Attributes:
        max_tokens: longest text in tokens, with the special ones; None if the file does not state it.
        lowercases: whether texts are converted to lower case before the tokenizer's own normalizer.
        tokenizer: settings that override tokenizer_config.json.
    """

    max_tokens: int | None
    lowercases: bool
    tokenizer: Mapping[str, Any]


def read_length_settings(encoder: Path) -> LengthSettings:
    """Read the first of ``LENGTH_FILES`` in the encoder's folder; without one, return settings that change nothing.

    Raises:
        CheckpointError: the file sets something that cannot be exported.
    """
    for file in (encoder / name for name in LENGTH_FILES):
        if config := read_json(file):
            return _length_settings(file, config)
    return LengthSettings(max_tokens=None, lowercases=False, tokenizer={})


def _length_settings(file: Path, config: Mapping[str, Any]) -> LengthSettings:
    tokenizer = _arguments(config, "tokenizer_args", "processor_kwargs")
    if unsupported := _unsupported_settings(config, tokenizer):
        raise CheckpointError(f"{file} sets {unsupported[0]}, which cannot be exported; choose another checkpoint")
    length = config.get("max_seq_length")
    return LengthSettings(
        max_tokens=None if length is None else int(length),
        lowercases=bool(config.get("do_lower_case")),
        tokenizer={name: value for name, value in tokenizer.items() if name not in ("trust_remote_code", "use_fast")},
    )


def _arguments(config: Mapping[str, Any], old: str, new: str) -> Mapping[str, Any]:
    """Return the arguments that sentence-transformers 5.4 stores under a new name and older versions under an old."""
    return config.get(old) or config.get(new) or {}


def _unsupported_settings(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> list[str]:
    """Return the names of settings that change vectors and that a bundle cannot follow."""
    task = config.get("transformer_task", "feature-extraction")
    usual = {"method": "forward", "method_output_name": _OUTPUTS.get(task)}
    arguments = (*_arguments(config, "model_args", "model_kwargs"), *_arguments(config, "config_args", "config_kwargs"))
    unsupported = [name for name in arguments if name not in _HARMLESS]
    unsupported += [name for name in ("processing_kwargs", "tokenizer_name_or_path") if config.get(name)]
    if task not in _OUTPUTS:
        unsupported.append("transformer_task")
    if config.get("modality_config") and config["modality_config"].get("text") != usual:
        unsupported.append("modality_config")
    if tokenizer.get("use_fast") is False:
        unsupported.append("use_fast")
    return unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """The settings in config_sentence_transformers.json.

    Attributes:
        prompts: texts to put in front of an input, by kind, without the empty ones.
        default_prompt: name of the prompt that is used if the caller names none; None for no prompt.
        similarity: the function that compares two vectors.
    """

    prompts: Mapping[str, str]
    default_prompt: str | None
    similarity: Similarity


def read_prompt_settings(root: Path) -> PromptSettings:
    """Read a checkpoint's prompts and similarity; without the file, there are no prompts and the cosine is used.

    Raises:
        CheckpointError: a setting is not valid, or cannot be exported.
    """
    file = root / PROMPT_FILE
    config = read_json(file) or {}
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    _check_prompts(file, prompts, default)
    similarity: Similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in get_args(Similarity):
        raise CheckpointError(
            f"{file}: similarity_fn_name must be one of {', '.join(get_args(Similarity))}, found {similarity!r}; "
            "correct the file"
        )
    if config.get("truncate_dim") is not None:
        raise CheckpointError(
            f"{file} sets truncate_dim {config['truncate_dim']!r}, and a bundle does not cut vectors; delete it there, "
            "and pass truncate_dim to encode"
        )
    return PromptSettings(
        prompts={name: text for name, text in prompts.items() if text},
        default_prompt=default if prompts.get(default) else None,
        similarity=similarity,
    )


def _check_prompts(file: Path, prompts: object, default: Any) -> None:
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise CheckpointError(f"{file}: prompts must be texts by name, found {prompts!r}; correct the file")
    if default is not None and default not in prompts:
        known = ", ".join(prompts) or "none"
        raise CheckpointError(
            f"{file}: default_prompt_name {default!r} is not one of its prompts ({known}); correct the file"
        )
