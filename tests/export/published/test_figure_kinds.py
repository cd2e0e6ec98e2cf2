"""figure_kinds.py: each check passes on a checkpoint with seeded weights, and fails if the figures are wrong.

The expected figures are computed with transformers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from embedge import Bundle
from embedge_export import export
from figure_kinds import (
    Figure,
    LexicalScores,
    LexicalWeights,
    MultiVectorScores,
    Scores,
    Similarities,
    StsB,
    VectorHead,
)
from published_figures import logits


def assert_passes_and_can_fail(figure: Figure, model: Path) -> None:
    """Assert that the check passes, and that it fails if the published numbers differ."""
    figure.check(model)
    numbers = figure.expected
    other = (
        {token: weight + 2 * figure.within for token, weight in numbers.items()}
        if isinstance(numbers, Mapping)
        else np.asarray(numbers) + 2 * figure.within
    )
    with pytest.raises(AssertionError, match="transformers"):
        replace(figure, expected=other).check(model)


def token_ids(folder: Path, *texts: str) -> Any:
    """Return the token ids of a text or a pair as a tensor, [1, tokens]."""
    import torch

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return torch.tensor([tokenizer.encode(*texts).ids])


def hidden_states(folder: Path, texts: Sequence[str]) -> list[NDArray[np.float32]]:
    """Return the hidden states of each text by transformers, [tokens, hidden]; texts are not batched."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return [model(token_ids(folder, text)).last_hidden_state[0].numpy() for text in texts]


SENTENCES = ("the cat sat on the mat", "a dog ran far away", "how do i bake bread ?", "the blue river", "stone cat")
SHIFTED = (*SENTENCES[1:], SENTENCES[0])
GOLD = (4.0, 1.5, 0.5, 3.0, 2.0)


def test_checks_of_vectors_pass_and_can_fail(tiny_checkpoint: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    vectors = np.array([states[0] for states in hidden_states(tiny_checkpoint, SENTENCES)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    path = tmp_path / "data" / "stsb" / "test.tsv"
    path.parent.mkdir(parents=True)
    rows = ("\t".join(map(str, row)) for row in zip(GOLD, SENTENCES, SHIFTED, strict=True))
    path.write_text("\n".join(("score\tsentence1\tsentence2", *rows)))
    correlation = spearmanr([cosine[i, (i + 1) % 5] for i in range(5)], GOLD).statistic
    figures = (
        VectorHead(model="tiny", text=SENTENCES[0], expected=vectors[0, :5], within=1e-5, source="transformers"),
        Similarities(
            model="tiny",
            first=SENTENCES,
            second=SENTENCES[:2],
            expected=cosine[:, :2],
            within=1e-5,
            source="transformers",
        ),
        StsB(model="tiny", folder=tmp_path, expected=100 * correlation, within=1e-6, source="transformers"),
    )
    for figure in figures:
        assert_passes_and_can_fail(figure, tiny_bundle.path)


# An XLM-RoBERTa with two layers. A large ``initializer_range`` keeps attention from being uniform.
TINY_XLM_R: dict[str, Any] = {
    "hidden_size": 32,
    "initializer_range": 0.3,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_labels": 1,
    "type_vocab_size": 1,
    "vocab_size": 64,
}


def write_xlm_r(folder: Path, architecture: str) -> Any:
    """Save a model with seeded weights and a tokenizer like XLM-RoBERTa's; return the model.

    ``architecture`` is the name of its class in transformers.
    """
    import torch
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, architecture)(transformers.XLMRobertaConfig(**TINY_XLM_R)).eval()
    model.save_pretrained(folder)
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    words = sorted({f"▁{word}" for text in SENTENCES for word in text.split()})
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in (*specials, *words)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(specials)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>"}
    (folder / "special_tokens_map.json").write_text(json.dumps({**names, "unk_token": "<unk>"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "unk_token": "<unk>"}))
    return model


def write_cls_pooling(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))


def test_the_check_of_scores_passes_and_can_fail(tmp_path: Path) -> None:
    import torch

    model = write_xlm_r(tmp_path / "tiny", "XLMRobertaForSequenceClassification")
    pairs = tuple(zip(SENTENCES, SHIFTED, strict=True))
    with torch.no_grad():
        scores = [float(model(token_ids(tmp_path / "tiny", *pair)).logits) for pair in pairs]
    bundle = export(tmp_path / "tiny", tmp_path / "bundle", precisions=("fp32",), verify=False)
    figure = Scores(model="tiny", pairs=pairs, expected=tuple(scores), within=1e-4, source="transformers")
    assert np.ptp(scores) > 0.1  # the scores differ enough for the check to mean something
    assert_passes_and_can_fail(figure, bundle.path)
    published = tuple(1 / (1 + math.exp(-score)) for score in scores)
    assert_passes_and_can_fail(replace(figure, expected=logits(*published)), bundle.path)


def test_checks_of_lexical_weights_pass_and_can_fail(tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "tiny"
    write_xlm_r(folder, "XLMRobertaModel")
    linear = torch.nn.Linear(32, 1)
    torch.save(linear.state_dict(), folder / "sparse_linear.pt")
    write_cls_pooling(folder)
    weights: list[dict[int, float]] = [{} for _ in SENTENCES]
    for text, states, largest in zip(SENTENCES, hidden_states(folder, SENTENCES), weights, strict=True):
        given = torch.relu(linear(torch.tensor(states)))[:, 0].tolist()
        for token, weight in zip(token_ids(folder, text)[0].tolist(), given, strict=True):
            if token > 3 and weight > largest.get(token, 0):
                largest[token] = weight
    assert sum(map(len, weights)) > 5
    bundle = export(folder, tmp_path / "bundle", precisions=("fp32",), verify=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text, largest in zip(SENTENCES, weights, strict=True):
        by_id = LexicalWeights(model="tiny", text=text, expected=largest, within=1e-4, source="transformers")
        pieces = {tokenizer.id_to_token(token).removeprefix("▁"): weight for token, weight in largest.items()}
        for figure in (by_id, replace(by_id, expected=pieces)) if largest else ():
            assert_passes_and_can_fail(figure, bundle.path)
    products = [[sum(w * b.get(token, 0) for token, w in a.items()) for b in weights] for a in weights]
    scores = LexicalScores(
        model="tiny", first=SENTENCES, second=SENTENCES, expected=products, within=1e-3, source="transformers"
    )
    assert_passes_and_can_fail(scores, bundle.path)


def test_the_check_of_multi_vector_scores_passes_and_can_fail(tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "tiny"
    write_xlm_r(folder, "XLMRobertaModel")
    linear = torch.nn.Linear(32, 32)
    torch.save(linear.state_dict(), folder / "colbert_linear.pt")
    write_cls_pooling(folder)
    with torch.no_grad():
        given = [linear(torch.tensor(states[1:])) for states in hidden_states(folder, SENTENCES)]
    vectors = [torch.nn.functional.normalize(rows, dim=-1) for rows in given]
    scores = [[float((q @ d.T).amax(dim=-1).sum() / len(q)) for d in vectors] for q in vectors]
    assert np.ptp(scores) > 0.1
    bundle = export(folder, tmp_path / "bundle", precisions=("fp32",), verify=False)
    figure = MultiVectorScores(
        model="tiny", first=SENTENCES, second=SENTENCES, expected=scores, within=1e-4, source="transformers"
    )
    assert_passes_and_can_fail(figure, bundle.path)
