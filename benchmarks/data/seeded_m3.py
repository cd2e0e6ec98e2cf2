"""A checkpoint with bge-m3's shape and seeded random weights, except for its vocabulary, which is small.

bge-m3 has 250,002 tokens. Here a tokenizer of the same kind is trained on the benchmark's texts. The time of a token in
the graph does not depend on the size of the vocabulary; the memory of the word embeddings does.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers

from benchmarks.data.datasets import data_folder, read_collection, read_pairs
from benchmarks.data.seeded import random_tensors

_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_TOKENS = 8_000  # at most
_LIMIT = 8_192
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
    """Write the checkpoint to ``folder``, as a sentence-transformers repository.

    Args:
        folder: the folder, which must not exist.
        layers: the number of encoder layers; the time of a layer does not depend on it.
        heads: whether to write the heads of lexical weights and of multi-vectors, too; this needs torch.

    Raises:
        DataNotFoundError: the benchmark's texts, on which the tokenizer is trained, are missing.
    """
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
    save_file(random_tensors(config), folder / "model.safetensors")
    if heads:
        write_heads(folder)
    return folder


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
