"""What sentence-transformers keeps beside a model: length, prompts, how two vectors are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from embedge.bundle.manifest import Similarity
from embedge.errors import CheckpointError
from embedge_export.checkpoint.json_file import read_json

# The library takes the first of these that is there and not empty (base/modules/transformer.py, load_config).
LENGTH_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
PROMPT_FILE = "config_sentence_transformers.json"
# Of a model's or config's arguments, those that change no vector but by rounding.
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
# What an encoder is asked for, by the task that it was saved for; the first is the library's default.
_OUTPUTS = {"feature-extraction": "last_hidden_state", "sequence-classification": "logits"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthSettings:
    """What a sentence_bert_config.json says.

    Attributes:
        max_tokens: longest text in tokens, special ones included; None where it does not say.
        lowercases: whether texts are put in lower case before the tokenizer's own normalizer.
        tokenizer: what stands above tokenizer_config.json.
    """

    max_tokens: int | None
    lowercases: bool
    tokenizer: Mapping[str, Any]


def read_length_settings(encoder: Path) -> LengthSettings:
    """The first of ``LENGTH_FILES`` beside the encoder; of no effect where there is none.

    Raises:
        CheckpointError: it says something that cannot be exported.
    """
    for file in (encoder / name for name in LENGTH_FILES):
        if found := read_json(file):
            return _length_settings(file, found)
    return LengthSettings(max_tokens=None, lowercases=False, tokenizer={})


def _length_settings(file: Path, found: Mapping[str, Any]) -> LengthSettings:
    # Of the same arguments, sentence-transformers 5.4 has the second name and older versions the first.
    model, tokenizer, config = (
        found.get(old) or found.get(new) or {}
        for old, new in (
            ("model_args", "model_kwargs"),
            ("tokenizer_args", "processor_kwargs"),
            ("config_args", "config_kwargs"),
        )
    )
    task = found.get("transformer_task", "feature-extraction")
    usual = {"method": "forward", "method_output_name": _OUTPUTS.get(task)}
    unknown = [name for name in (*model, *config) if name not in _HARMLESS]
    unknown += [name for name in ("processing_kwargs", "tokenizer_name_or_path") if found.get(name)]
    if task not in _OUTPUTS:
        unknown.append("transformer_task")
    if found.get("modality_config") and found["modality_config"].get("text") != usual:
        unknown.append("modality_config")
    if tokenizer.get("use_fast") is False:
        unknown.append("use_fast")
    if unknown:
        raise CheckpointError(f"{file} sets {unknown[0]}, which cannot be exported; choose another checkpoint")
    length = found.get("max_seq_length")
    return LengthSettings(
        max_tokens=None if length is None else int(length),
        lowercases=bool(found.get("do_lower_case")),
        tokenizer={name: value for name, value in tokenizer.items() if name not in ("trust_remote_code", "use_fast")},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """What config_sentence_transformers.json says.

    Attributes:
        prompts: text put in front of an input, by kind; those that are empty left out.
        default_prompt: name of the prompt that is used when told none; None for no prompt.
        similarity: how two vectors are compared.
    """

    prompts: Mapping[str, str]
    default_prompt: str | None
    similarity: Similarity


def read_prompt_settings(root: Path) -> PromptSettings:
    """Prompts and similarity of a checkpoint; none, and the cosine, where it does not say.

    Raises:
        CheckpointError: they cannot be exported.
    """
    file = root / PROMPT_FILE
    found = read_json(file) or {}
    prompts, default = found.get("prompts") or {}, found.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise CheckpointError(f"{file}: prompts must be texts by name, found {prompts!r}; mend it")
    if default is not None and default not in prompts:
        known = ", ".join(prompts) or "none"
        raise CheckpointError(f"{file}: default_prompt_name {default!r} is none of its prompts ({known}); mend it")
    similarity: Similarity = found.get("similarity_fn_name") or "cosine"
    if similarity not in get_args(Similarity):
        raise CheckpointError(
            f"{file}: similarity_fn_name must be one of {', '.join(get_args(Similarity))}, found {similarity!r}; "
            "mend it"
        )
    if found.get("truncate_dim") is not None:
        raise CheckpointError(
            f"{file} cuts vectors to truncate_dim {found['truncate_dim']!r}, which a bundle does not; delete it there, "
            f"and pass truncate_dim to encode"
        )
    return PromptSettings(
        prompts={name: text for name, text in prompts.items() if text},
        default_prompt=default if prompts.get(default) else None,
        similarity=similarity,
    )
