"""Maps the names of tensors in a file to the names in the encoder alone, without the wrappers of its training code.

1. The names of torch's inner wrappers are removed, wherever they stand in a name.
2. The word embeddings show which prefix all tensors of the encoder have. It must consist of known wrappers.
3. A tensor beside the encoder, such as a classifier, has the same prefix, a part of it, or none.
"""

from collections.abc import Collection
from pathlib import Path

from embedge.bundle.manifest import Task
from embedge.errors import CheckpointError

_WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"  # every encoder has a tensor whose name ends so
# Wrappers of torch.compile, FSDP, DeepSpeed and activation checkpointing. No layer has such a name.
_INNER_WRAPPERS = ("_checkpoint_wrapped_module", "_forward_module", "_fsdp_wrapped_module", "_orig_mod")
# Wrappers of DataParallel (module), sentence-transformers (0.auto_model), PEFT (base_model.model), and of Lightning and
# trainers' own classes (the rest).
_OUTER_WRAPPERS = ("0", "auto_model", "backbone", "base_model", "encoder", "model", "module", "transformer")
_ENCODERS = ("bert", "camembert", "roberta", "xlm_roberta")  # attribute of the encoder in a model with a head
# Tensors that no embedder reads. Older transformers saved these buffers:
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# First parts of the names of heads, in transformers' classes for language models, pretraining and question answering.
# bge and all-MiniLM have a pooler, and bert-base-uncased has cls.
_LANGUAGE = ("cls", "decoder", "generator_lm_head", "generator_predictions", "head", "lm_head", "lm_predictions")
_PRETRAINING = ("discriminator_predictions", "mask_predictions", "pooler", "predictions", "sop_classifier")
_DISTILBERT = ("vocab_layer_norm", "vocab_projector", "vocab_transform")
_QUESTIONS = ("qa_classifier", "qa_outputs", "sequence_summary")
_HEADS = frozenset((*_LANGUAGE, *_PRETRAINING, *_DISTILBERT, *_QUESTIONS))
_CLASSIFIERS = ("classifier", "pre_classifier")  # a reranker reads them


def plain_names(names: Collection[str], folder: Path, *, encoder: str | None = None) -> dict[str, str]:
    """Return the names in a checkpoint's files, by the plain names that the encoder or its head uses.

    >>> plain_names(["module.bert.embeddings.word_embeddings.weight", "module.classifier.bias"], Path("x"))
    ... # doctest: +NORMALIZE_WHITESPACE
    {'embeddings.word_embeddings.weight': 'module.bert.embeddings.word_embeddings.weight',
     'classifier.bias': 'module.classifier.bias'}

    Args:
        names: the names of all tensors.
        folder: the checkpoint's folder, for messages.
        encoder: attribute of the encoder in a model with a head, if it is not BERT's or RoBERTa's.

    Raises:
        CheckpointError: there is not exactly one encoder, a wrapper is not known, or two tensors have the same plain
            name.
    """
    wrappers = _find_wrappers(names, folder, {*_OUTER_WRAPPERS, *_ENCODERS, encoder})
    plain: dict[str, str] = {}
    for name in names:
        short = _unwrap(name, wrappers)
        if short in plain:
            raise CheckpointError(f"{folder} holds {short} twice, as {plain[short]} and {name}; save the model again")
        plain[short] = name
    return plain


def is_unread(name: str, task: Task) -> bool:
    """Whether a model of this task never reads the tensor with this plain name, though checkpoints contain it.

    >>> [is_unread(name, "rerank") for name in ("pooler.dense.bias", "classifier.bias", "encoder.layer.9.bias")]
    [True, False, False]
    """
    return name in _BUFFERS or name.partition(".")[0] in _HEADS or (task == "embed" and is_classifier(name))


def is_classifier(name: str) -> bool:
    """Whether the tensor with this plain name belongs to a classifier."""
    return name.partition(".")[0] in _CLASSIFIERS


def _find_wrappers(names: Collection[str], folder: Path, known: Collection[str | None]) -> list[str]:
    """Return the parts of the prefix of the encoder's tensors (rule 2)."""
    parts = [_without_inner_wrappers(name) for name in names]
    prefixes = [part[:-3] for part in parts if ".".join(part[-3:]) == _WORD_EMBEDDINGS]
    if not prefixes:
        shown = f", only {', '.join(sorted(names)[:3])}, ..." if names else ""
        raise CheckpointError(
            f"{folder} has no tensor {_WORD_EMBEDDINGS}{shown}; its config.json describes another model, or weights "
            "are missing: download or copy the checkpoint again"
        )
    shown = " and ".join(repr(f"{'.'.join(wrappers)}.") if wrappers else "no prefix" for wrappers in prefixes)
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{folder} holds {len(prefixes)} encoders, under {shown}; save only the one to export, by its "
            "save_pretrained"
        )
    if not all(part in known for part in prefixes[0]):
        raise CheckpointError(
            f"{folder} has its encoder's tensors under {shown}, which is not a wrapper that embedge knows; save the "
            f"encoder alone, by its save_pretrained, or remove {shown} from the names"
        )
    return prefixes[0]


def _without_inner_wrappers(name: str) -> list[str]:
    """Return the parts of a name without torch's inner wrappers (rule 1)."""
    return [part for part in name.split(".") if part not in _INNER_WRAPPERS]


def _unwrap(name: str, wrappers: list[str]) -> str:
    """Return a name without the wrappers that it begins with (rules 2 and 3)."""
    parts = _without_inner_wrappers(name)
    common = 0
    while common < min(len(wrappers), len(parts)) and parts[common] == wrappers[common]:
        common += 1
    return ".".join(parts[common:])
