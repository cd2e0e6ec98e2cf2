"""Makes the golden bundle of a format, and the vectors that are expected of it.

    python tests/golden/make.py checkpoint FOLDER    a tiny seeded BERT checkpoint
    python tests/golden/make.py bundle FOLDER        its int8 and fp32 bundle, by the exporter that is installed
    python tests/golden/make.py vectors BUNDLE       expected.json beside the bundle

A golden bundle is made once, when its format is new, and is never made again: that old bundles stay loadable is the
point of it. Run from the root of the repository, with `runtime`, `export`, `models`, `benchmarks` and `tests/shared` in
PYTHONPATH.
"""

import json
import sys
from pathlib import Path

TEXTS = ["", "the cat sat on the mat", "how do i bake bread?", "東京 river, blue stone!", "dog ran far away " * 20]
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 32,
}


def write_golden_checkpoint(folder: Path) -> None:
    """Writes a BERT of two layers and dimension 16 with seeded weights, CLS pooling and a query prompt.

    Its layers weigh eight times what ``random_tensors`` gives them. With less, the first token hardly attends to the
    others, and all texts have nearly the same vector.
    """
    from benchmarks.data.seeded import random_tensors
    from tiny import TINY, write_checkpoint

    tensors = random_tensors({**TINY, **SIZES}, seed=1)
    for name, tensor in tensors.items():
        if name.startswith("encoder") and tensor.ndim == 2:
            tensors[name] = tensor * 8
    write_checkpoint(folder / "tiny-bert", prompts={"query": "how do i "}, tensors=tensors, config=SIZES)


def write_golden_bundle(folder: Path) -> None:
    """Exports the checkpoint to ``folder/bundle``."""
    from embedge_export import export

    export(folder / "tiny-bert", folder / "bundle", precisions=("int8", "fp32"))


def write_vectors(bundle: Path) -> None:
    """Writes the vectors of TEXTS, as queries and as documents, of both precisions, beside the bundle."""
    from embedge import Embedder

    expected: dict[str, object] = {"texts": TEXTS}
    for precision in ("int8", "fp32"):
        model = Embedder(bundle, precision=precision)
        expected[precision] = {
            "queries": model.encode_query(TEXTS, on_truncate="ignore").tolist(),
            "documents": model.encode_document(TEXTS, on_truncate="ignore").tolist(),
        }
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (bundle.parent / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    steps = {"checkpoint": write_golden_checkpoint, "bundle": write_golden_bundle, "vectors": write_vectors}
    steps[sys.argv[1]](Path(sys.argv[2]))
