"""Write small XLM-RoBERTa checkpoints with random weights, in the layout of bge-m3 and of the bge rerankers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data.seeded import random_tensors
from embedge_export.verify.passages import passages, questions

# The config.json of BAAI/bge-reranker-base, with smaller sizes.
CONFIG: dict[str, Any] = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "classifier_dropout": None,
    "eos_token_id": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 32,
    "id2label": {"0": "LABEL_0"},
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "label2id": {"LABEL_0": 0},
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514,
    "model_type": "xlm-roberta",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "output_past": True,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "use_cache": True,
    "vocab_size": 500,
}
_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")


def write_roberta(
    folder: Path, *, seed: int = 0, rerank: bool, pickled: bool = False, config: dict[str, Any] | None = None
) -> Path:
    """Write a reranker, or an embedder with a sparse and a multi-vector head like bge-m3, and return the folder.

    Args:
        folder: the folder, which must not exist.
        seed: the seed of the weights.
        rerank: whether to write a reranker.
        pickled: whether to write ``pytorch_model.bin`` instead of safetensors. This needs torch, as the heads of an
            embedder do.
        config: fields of config.json to override.
    """
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    _write_tokenizer(folder)
    sizes = {**CONFIG, **(config or {})}
    width = sizes["hidden_size"]
    tensors = {name: _spread(name) * tensor for name, tensor in random_tensors(sizes, seed).items()}
    random = np.random.default_rng(seed + 1)
    if rerank:
        tensors = {f"roberta.{name}": tensor for name, tensor in tensors.items()}
        tensors |= _linear("classifier.dense", width, width, random) | _linear("classifier.out_proj", 1, width, random)
        (folder / "config.json").write_text(json.dumps(sizes))
    else:
        import torch

        encoder = {k: v for k, v in sizes.items() if k not in ("id2label", "label2id")}
        (folder / "config.json").write_text(json.dumps(encoder | {"architectures": ["XLMRobertaModel"]}))
        (folder / "1_Pooling").mkdir()
        modes = {"word_embedding_dimension": width, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
        for name, outputs in (("sparse_linear.pt", 1), ("colbert_linear.pt", width)):
            head = {key.removeprefix("."): torch.tensor(v) for key, v in _linear("", outputs, width, random).items()}
            torch.save(head, folder / name)
    if pickled:
        import torch

        torch.save({name: torch.tensor(tensor) for name, tensor in tensors.items()}, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")
    return folder


def _spread(name: str) -> np.float32:
    """A factor for the weights: without it, the first token of so small a model hardly depends on the others."""
    if "word_embeddings" in name:
        return np.float32(10)
    return np.float32(4 if name.endswith((".dense.weight", "query.weight", "key.weight", "value.weight")) else 1)


def _linear(name: str, outputs: int, inputs: int, random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """The weights of a head; large, so that the scores of different pairs differ."""
    return {
        f"{name}.weight": random.standard_normal((outputs, inputs)).astype(np.float32),
        f"{name}.bias": random.standard_normal(outputs).astype(np.float32),
    }


def _write_tokenizer(folder: Path) -> None:
    """Write a Unigram tokenizer with XLM-RoBERTa's pre-tokenizer, templates and special tokens."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    words = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=list(_SPECIALS), unk_token="<unk>", show_progress=False
    )
    lines = [*(passage.joined for passage in passages()), *(question.text for question in questions())]
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    special = {f"{name}_token": token for name, token in names.items()}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    saved = special | {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(saved))
