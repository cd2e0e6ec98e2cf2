"""Names of tensors: those in a file -> those that an encoder has by itself, without what wrapped it when it was saved.

1. What torch puts around parts of a model is taken out of a name wherever it stands.
2. An encoder's word embeddings tell what stands in front of all its tensors: known wrappers, or it is refused.
3. A tensor beside the encoder, such as a classifier, has some of these wrappers in front, or none.
"""

from collections.abc import Collection
from pathlib import Path

from embedge.bundle.manifest import Task
from embedge.errors import CheckpointError

_WORDS = "embeddings.word_embeddings.weight"  # how a name of every encoder's ends
# By torch.compile, FSDP, DeepSpeed and activation checkpointing; no layer is called so.
_INSIDE = ("_checkpoint_wrapped_module", "_forward_module", "_fsdp_wrapped_module", "_orig_mod")
# By DataParallel (module), sentence-transformers (0.auto_model), PEFT (base_model.model), Lightning and trainers' own
# classes (the rest).
_AROUND = ("0", "auto_model", "backbone", "base_model", "encoder", "model", "module", "transformer")
_ENCODERS = ("bert", "camembert", "roberta", "xlm_roberta")  # what a model with a head on top calls its encoder
# Parts of a checkpoint that no embedder reads. Buffers that older transformers saved:
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
# The first parts of the names of heads that encoders are trained with, in transformers' classes for language models and
# pretraining, and for questions. bge and all-MiniLM have a pooler, and bert-base-uncased has cls.
_LANGUAGE = ("cls", "decoder", "generator_lm_head", "generator_predictions", "head", "lm_head", "lm_predictions")
_PRETRAINING = ("discriminator_predictions", "mask_predictions", "pooler", "predictions", "sop_classifier")
_DISTILBERT = ("vocab_layer_norm", "vocab_projector", "vocab_transform")
_QUESTIONS = ("qa_classifier", "qa_outputs", "sequence_summary")
_HEADS = frozenset((*_LANGUAGE, *_PRETRAINING, *_DISTILBERT, *_QUESTIONS))
_CLASSIFIERS = ("classifier", "pre_classifier")  # which a reranker reads


def plain_names(names: Collection[str], folder: Path, *, encoder: str | None = None) -> dict[str, str]:
    """Names in a checkpoint's files by what its encoder, or a head beside it, calls the tensors.

    >>> plain_names(["module.bert.embeddings.word_embeddings.weight", "module.classifier.bias"], Path("x"))
    ... # doctest: +NORMALIZE_WHITESPACE
    {'embeddings.word_embeddings.weight': 'module.bert.embeddings.word_embeddings.weight',
     'classifier.bias': 'module.classifier.bias'}

    Args:
        names: of all its tensors.
        folder: the checkpoint's, for errors.
        encoder: what a model with a head on top calls its encoder, where it is none of BERT's or RoBERTa's.

    Raises:
        CheckpointError: there is no encoder, or there are several; what wraps it is not known; or two tensors have one
            name.
    """
    wrappers = _find_wrappers(names, folder, {*_AROUND, *_ENCODERS, encoder})
    plain: dict[str, str] = {}
    for name in names:
        short = _unwrap(name, wrappers)
        if short in plain:
            raise CheckpointError(f"{folder} holds {short} twice, as {plain[short]} and {name}; save the model anew")
        plain[short] = name
    return plain


def is_unread(name: str, task: Task) -> bool:
    """Whether a tensor, by its plain name, is one that checkpoints carry and a model of the task never reads.

    >>> [is_unread(name, "rerank") for name in ("pooler.dense.bias", "classifier.bias", "encoder.layer.9.bias")]
    [True, False, False]
    """
    return name in _BUFFERS or name.partition(".")[0] in _HEADS or (task == "embed" and is_classifier(name))


def is_classifier(name: str) -> bool:
    """Whether a tensor, by its plain name, is of a classifier."""
    return name.partition(".")[0] in _CLASSIFIERS


def _find_wrappers(names: Collection[str], folder: Path, known: Collection[str | None]) -> list[str]:
    """The parts of what stands in front of the encoder's names."""
    parts = [_without_inner(name) for name in names]
    found = [part[:-3] for part in parts if ".".join(part[-3:]) == _WORDS]
    if not found:
        held = f", only {', '.join(sorted(names)[:3])}, ..." if names else ""
        raise CheckpointError(
            f"{folder} has no tensor {_WORDS}{held}; its config.json describes another model, or it is not whole"
        )
    shown = " and ".join(repr(f"{'.'.join(wrappers)}.") if wrappers else "no prefix" for wrappers in found)
    if len(found) > 1:
        raise CheckpointError(
            f"{folder} holds {len(found)} encoders, under {shown}; save the one to export alone, by its save_pretrained"
        )
    if not all(part in known for part in found[0]):
        raise CheckpointError(
            f"{folder} has its encoder's tensors under {shown}, which embedge does not know to be a wrapper; "
            f"save the encoder alone, by its save_pretrained, or take {shown} off the names"
        )
    return found[0]


def _without_inner(name: str) -> list[str]:
    """The parts of a name (rule 1)."""
    return [part for part in name.split(".") if part not in _INSIDE]


def _unwrap(name: str, wrappers: list[str]) -> str:
    """The name without as many of the wrappers as it begins with (rules 2 and 3)."""
    parts = _without_inner(name)
    common = 0
    while common < min(len(wrappers), len(parts)) and parts[common] == wrappers[common]:
        common += 1
    return ".".join(parts[common:])
