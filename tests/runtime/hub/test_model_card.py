"""model_card.py: the lines of JavaScript, which tests/javascript runs where npm's packages are installed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embedge import Bundle, Manifest
from embedge.bundle.manifest import Pooling
from embedge.bundle.transformers_js import names_graphs
from embedge.hub.model_card import model_card

GOLDEN = Path(__file__).parents[2] / "golden" / "format-1"


def javascript(manifest: Manifest) -> str:
    card = model_card(manifest, "someone/model", in_javascript=True)
    assert card.count("```") == 4
    return card.partition("```js\n")[2].partition("```")[0]


@pytest.mark.parametrize(("pooling", "word"), [("cls", "cls"), ("mean", "mean"), ("last", "last_token")])
def test_it_states_what_transformers_js_does_not_read(tiny_bundle: Bundle, pooling: Pooling, word: str) -> None:
    code = javascript(replace(tiny_bundle.manifest, pooling=pooling))
    assert f'const options = {{ pooling: "{word}", normalize: true }};' in code
    assert 'pipeline("feature-extraction", "someone/model");' in code
    assert 'const vector = await model("some text", options);' in code
    assert 'const query = await model("how do i " + "some text", options);' in code
    raw = javascript(replace(tiny_bundle.manifest, normalize=False, prompts={}))
    assert "normalize: false" in raw
    assert "query" not in raw


def test_the_default_prompt_is_in_front_of_every_text(tiny_bundle: Bundle) -> None:
    prompts = {"query": 'a "quoted"\n为', "document": ""}
    code = javascript(replace(tiny_bundle.manifest, prompts=prompts, default_prompt="query"))
    assert 'const vector = await model("a \\"quoted\\"\\n为" + "some text", options);' in code
    assert "const query" not in code


def test_a_rerankers_lines_give_a_score(tiny_bundle: Bundle) -> None:
    code = javascript(replace(tiny_bundle.manifest, task="rerank"))
    assert 'AutoModelForSequenceClassification.from_pretrained("someone/model")' in code
    assert "pooling" not in code


def test_a_bundle_whose_config_names_no_graph_gets_no_such_lines(tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert names_graphs(tiny_bundle.path / "config.json")
    for folder in GOLDEN.glob("*/"):
        if folder.is_dir():
            assert not names_graphs(folder / "config.json")
    assert not names_graphs(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps(["transformers.js_config"]))
    assert not names_graphs(tmp_path / "config.json")
    assert "```js" not in model_card(tiny_bundle.manifest, "someone/model", in_javascript=False)
