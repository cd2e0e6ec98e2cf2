"""Write a small BERT checkpoint with random weights and its own tokenizer, in the layout of a real repository."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.data.seeded import Tensors

WORDS = """the a cat dog sat on mat and ran far away over blue river stone bread bake how do i ? . , ! ##s ##ing
東 京""".split()
TINY: dict[str, Any] = {
    "architectures": ["BertModel"],
    "hidden_act": "gelu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "model_type": "bert",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 64,
}


def write_tokenizer(folder: Path) -> None:
    """Write a WordPiece tokenizer over WORDS, with padding and truncation, as all-MiniLM's file has."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [f"##{c}" for c in "etaoin"]
    vocabulary = {token: index for index, token in enumerate([*specials, *WORDS, *letters])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(specials)
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(20)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{token.strip('[]').lower()}_token": token for token in specials}
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    saved = {**names, "tokenizer_class": "BertTokenizer", "model_max_length": 1e30}
    (folder / "tokenizer_config.json").write_text(json.dumps(saved))


def write_checkpoint(
    folder: Path,
    *,
    seed: int = 0,
    pooling: str = "cls",
    prompts: dict[str, str] | None = None,
    tensors: "Tensors | None" = None,
    like: Path | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write the checkpoint into a new folder, and return the folder.

    Args:
        folder: the folder, which must not exist.
        seed: the seed of the weights.
        pooling: cls, mean or lasttoken.
        prompts: the prompts by kind; None writes no config_sentence_transformers.json.
        tensors: the weights; None means random ones.
        like: a checkpoint from which to copy the config, the tokenizer and modules.json; None means TINY.
        config: fields of config.json to override.
    """
    from safetensors.numpy import save_file

    from benchmarks.data.seeded import random_tensors

    (folder / "1_Pooling").mkdir(parents=True)
    base = json.loads((like / "config.json").read_text()) if like else TINY
    sizes = {**base, **(config or {})}
    (folder / "config.json").write_text(json.dumps(sizes))
    if like:
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "modules.json"):
            (folder / file).write_bytes((like / file).read_bytes())
    else:
        write_tokenizer(folder)
    modes = {f"pooling_mode_{mode}": mode.startswith(pooling) for mode in ("cls_token", "mean_tokens", "lasttoken")}
    modes["word_embedding_dimension"] = sizes["hidden_size"]
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    save_file(tensors or random_tensors(sizes, seed), folder / "model.safetensors")
    return folder
