"""source.py, encoding.py, extra.py: what all integrations share; none of the frameworks is needed."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, BundleError, Embedder, InputTypeError, InputValueError, MissingExtraError, Reranker
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource
from no_card import CPU, CUDA, pretend_cuda


def test_a_name_is_opened_with_its_options(tiny_bundle: Bundle) -> None:
    model = ModelSource(model=tiny_bundle.path, precision="fp32", threads=1).open(Embedder)
    assert (model.bundle.path, model.precision, model.threads) == (tiny_bundle.path, "fp32", 1)


def test_an_open_model_is_taken_as_it_is(tiny: Embedder) -> None:
    assert ModelSource(model=tiny).open(Embedder) is tiny


def test_a_process_shares_a_model_with_the_same_options(tiny: Embedder, tiny_bundle: Bundle) -> None:
    first, second, other = (
        ModelSource(model=tiny_bundle.path, precision="fp32", threads=threads).open_shared(Embedder)
        for threads in (1, 1, 2)
    )
    assert first is second
    assert first is not other
    assert ModelSource(model=tiny).open_shared(Embedder) is tiny


def test_the_dimension_is_known_without_loading_the_model(
    tiny: Embedder, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embedder, "__init__", lambda *arguments, **options: pytest.fail("loaded"))
    source = ModelSource(model=tiny_bundle.path, device="cpu")
    assert (source.dimension(), source.dimension(8), ModelSource(model=tiny).dimension()) == (32, 8, 32)
    with pytest.raises(InputValueError, match="between 1 and 32, found 33"):
        source.dimension(33)


def test_a_reranker_has_scores_and_no_dimension(reranker: Reranker) -> None:
    for source in (ModelSource(model=reranker), ModelSource(model=reranker.bundle.path)):
        with pytest.raises(BundleError, match="is a reranker, not an embedder; open it with embedge.Reranker"):
            source.dimension()


@pytest.mark.parametrize(
    "late",
    [
        {"precision": "int8"},
        {"threads": 1},
        {"device": "cpu"},
        {"providers": ["CPUExecutionProvider"]},
        {"local_files_only": True},
        {"kernels": False},
    ],
)
def test_an_open_model_takes_no_options(tiny: Embedder, late: Any) -> None:
    with pytest.raises(InputValueError, match=f"loaded already, found {next(iter(late))} beside it"):
        ModelSource(model=tiny, **late)


def test_what_is_no_model_is_an_error() -> None:
    with pytest.raises(InputTypeError, match="found int"):
        ModelSource(model=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_open", [True, False])
def test_a_config_goes_through_json_and_opens_the_same_model(tiny_bundle: Bundle, is_open: bool) -> None:
    options: Any = {"precision": "fp32", "threads": 1, "providers": ["CPUExecutionProvider"], "kernels": False}
    model = Embedder(tiny_bundle.path, **options)
    named = ModelSource(model=tiny_bundle.path, **options)
    config = json.loads(json.dumps((ModelSource(model=model) if is_open else named).config()))
    again = ModelSource(**config).open(Embedder)
    assert again.__reduce__() == model.__reduce__()


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    ("options", "providers"),
    [
        ({"device": "cuda"}, [CUDA, CPU]),
        ({"device": "cuda:1"}, [[CUDA, {"device_id": "1"}], CPU]),
        ({"providers": [(CUDA, {"device_id": 1, "use_tf32": True}), CPU]}, None),
        ({"device": "cuda:1", "providers": [(CUDA, {"use_tf32": "1"})]}, None),
    ],
)
def test_a_config_keeps_the_device_and_the_providers_options(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, is_open: bool, options: Any, providers: Any
) -> None:
    """Through JSON, which has lists where the options had pairs."""
    asked = pretend_cuda(monkeypatch)
    named = ModelSource(model=tiny_bundle.path, **options)
    model = named.open(Embedder)
    config = json.loads(json.dumps((ModelSource(model=model) if is_open else named).config()))
    again = ModelSource(**config).open(Embedder)
    assert again.device == model.device
    assert again.__reduce__() == model.__reduce__()
    assert asked[0]["providers"] == asked[1]["providers"]
    if is_open and providers:
        assert (config["device"], config["providers"]) == (None, providers)


def test_a_config_keeps_what_was_asked_for() -> None:
    source = ModelSource(model=Path("a"), cache_dir=Path("b"), local_files_only=True)
    assert source.config() == {
        "model": "a",
        "precision": None,
        "device": None,
        "providers": None,
        "threads": None,
        "cache_dir": "b",
        "local_files_only": True,
        "kernels": None,
    }


def test_queries_and_documents_have_their_prompts(tiny: Embedder) -> None:
    """The tiny bundle's query prompt is "how do i ", and it has none for documents."""
    encoding = Encoding()
    np.testing.assert_array_equal(encoding.documents(tiny, ["bake bread"])[0], tiny.encode("bake bread"))
    np.testing.assert_array_equal(encoding.queries(tiny, ["bake bread"])[0], tiny.encode("how do i bake bread"))
    mine = Encoding(query_prompt="", document_prompt="the ")
    np.testing.assert_array_equal(mine.documents(tiny, ["cat"])[0], tiny.encode("the cat"))
    np.testing.assert_array_equal(mine.queries(tiny, ["cat"])[0], tiny.encode("cat"))


def test_options_reach_the_embedder(tiny: Embedder) -> None:
    encoding = Encoding(normalize=False, truncate_dim=8, on_truncate="error", batch_tokens=16)
    vectors = encoding.documents(tiny, ["the cat", "a dog"])
    np.testing.assert_array_equal(vectors, tiny.encode(["the cat", "a dog"], normalize=False, truncate_dim=8))
    with pytest.raises(InputValueError, match="tokens"):
        encoding.documents(tiny, ["the cat sat " * 100])


def test_one_string_is_no_list_of_texts(tiny: Embedder) -> None:
    with pytest.raises(InputTypeError, match="found one string"):
        Encoding().documents(tiny, "the cat")


def test_a_missing_package_is_named_with_its_command() -> None:
    found = r"not_there is not installed; run `pip install 'embedge\[langchain\]'`"
    with pytest.raises(MissingExtraError, match=found), needs_extra("langchain"):
        import_module("not_there")
