"""A checkpoint with bge-m3's shape and seeded random weights.

bge-m3 has 250,002 tokens. Here a tokenizer of the same kind, with at most 8,000, is trained on the benchmark's texts.
The time of a token in the graph does not depend on the size of the vocabulary; the memory of the word embeddings does,
so ``write_whole_m3`` writes the rows that no token uses, too.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers

from benchmarks.data.datasets import data_folder, read_collection, read_pairs
from benchmarks.data.seeded import Tensors, random_tensors

_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_TOKENS = 8_000  # at most
_LIMIT = 8_192
VOCABULARY = 250_002
# The config.json of BAAI/bge-m3, without the size of the vocabulary.
CONFIG: dict[str, Any] = {
    "architectures": ["XLMRobertaModel"],
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": _LIMIT + 2,
    "model_type": "xlm-roberta",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "use_cache": True,
}


def write_seeded_m3(folder: Path, *, layers: int = CONFIG["num_hidden_layers"], heads: bool = False) -> Path:
    """Write the checkpoint to ``folder``, as a sentence-transformers repository, with a small vocabulary.

    Args:
        folder: the folder, which must not exist.
        layers: the number of encoder layers; the time of a layer does not depend on it.
        heads: whether to write the heads of lexical weights and of multi-vectors, too; this needs torch.

    Raises:
        DataNotFoundError: the benchmark's texts, on which the tokenizer is trained, are missing.
    """
    config = _write_files(folder, layers=layers)
    save_file(random_tensors(config), folder / "model.safetensors")
    if heads:
        write_heads(folder)
    return folder


def write_whole_m3(folder: Path, *, rerank: bool) -> Path:
    """Write a checkpoint as large as bge-m3 with both heads, or as bge-reranker-v2-m3, in shards; it takes 2.3 GB.

    Raises:
        DataNotFoundError: the benchmark's texts, on which the tokenizer is trained, are missing.
    """
    import torch  # the heads of bge-m3 are torch's files

    config = _write_files(folder) | {"vocab_size": VOCABULARY}
    if rerank:
        config |= {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    prefix, width, random = "roberta." if rerank else "", config["hidden_size"], np.random.default_rng(1)
    index: dict[str, str] = {}

    def save(name: str, tensors: Tensors) -> None:
        save_file(tensors, folder / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(tensors, name))

    layers = random_tensors(config | {"vocab_size": 1})
    del layers["embeddings.word_embeddings.weight"]
    save("layers.safetensors", {prefix + name: tensor for name, tensor in layers.items()})
    del layers
    words = np.empty((VOCABULARY, width), np.float32)
    for start in range(0, VOCABULARY, _TOKENS):  # numpy draws float64, twice the size
        words[start : start + _TOKENS] = random.standard_normal(words[start : start + _TOKENS].shape) * 0.05
    save("words.safetensors", {f"{prefix}embeddings.word_embeddings.weight": words})
    heads = ("classifier.dense", width), ("classifier.out_proj", 1)
    if rerank:
        save("heads.safetensors", {k: v for name, outputs in heads for k, v in _linear(f"{name}.", outputs, random)})
    else:
        for name, outputs in (("sparse_linear.pt", 1), ("colbert_linear.pt", width)):
            torch.save({key: torch.tensor(value) for key, value in _linear("", outputs, random)}, folder / name)
    written = json.dumps({"metadata": {}, "weight_map": index})  # transformers asks for both
    (folder / "model.safetensors.index.json").write_text(written, encoding="utf-8")
    return folder


def _linear(prefix: str, outputs: int, random: np.random.Generator) -> list[tuple[str, NDArray[np.float32]]]:
    width = CONFIG["hidden_size"]
    weight, bias = random.standard_normal((outputs, width)) * 0.05, random.standard_normal(outputs) * 0.05
    return [(f"{prefix}weight", weight.astype(np.float32)), (f"{prefix}bias", bias.astype(np.float32))]


def _write_files(folder: Path, *, layers: int = CONFIG["num_hidden_layers"]) -> dict[str, Any]:
    """Write everything but the weights; return the config."""
    data = data_folder()
    folder.mkdir(parents=True)
    tokenizer = train_tokenizer([*read_pairs(data).sentences, *read_collection(data).documents])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = CONFIG | {"vocab_size": tokenizer.get_vocab_size(), "num_hidden_layers": layers}
    pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_cls_token": True}
    files: dict[str, Any] = {
        "config.json": config,
        "tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": _LIMIT} | _special(),
        "special_tokens_map.json": _special(),
        "1_Pooling/config.json": pooling | {"pooling_mode_mean_tokens": False},
    }
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return config


def write_heads(folder: Path) -> None:
    """Write random heads of lexical weights and of multi-vectors, as bge-m3's repository has them."""
    import torch

    for name, outputs in (("sparse_linear.pt", 1), ("colbert_linear.pt", CONFIG["hidden_size"])):
        head = torch.nn.Linear(CONFIG["hidden_size"], outputs).half()
        torch.save(dict(head.state_dict()), folder / name)


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """A Unigram tokenizer with XLM-RoBERTa's words, templates and special tokens, and with its order of ids."""
    tokenizer = Tokenizer(models.Unigram())
    words = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    trainer = trainers.UnigramTrainer(
        vocab_size=_TOKENS, special_tokens=list(_SPECIALS), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _special() -> dict[str, str]:
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    return {f"{name}_token": token for name, token in names.items()}
