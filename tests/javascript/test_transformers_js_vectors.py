"""transformers.js gives embedge's vectors with the same bundle and no option: in node, in WebAssembly, in Chromium.

The tests need node and the packages of package.json: `npm ci --ignore-scripts --prefix tests/javascript`.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, Embedder, Precision, Reranker
from embedge.bundle.copy import copy_bundle
from embedge.hub.model_card import model_card
from embedge_export.verify.passages import passages

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "javascript.md"
INSTALL = "`npm ci --ignore-scripts --prefix tests/javascript`"
MEAN = {"pooling": "mean", "normalize": True}
CLS = {"pooling": "cls", "normalize": True}
# 57 texts. The odd ones: spaces, other scripts, composed and combining characters, marks, special tokens, code.
ODD = ["", " ", "hello world", "  leading and trailing  ", "UPPER Case", "a\nb\tc", "1,234.56 € 50% £3", "x" * 120]
ODD += ["café naïve Ångström", "e\u0301 combining", "\u00a0no-break\u00a0", "a\u200bb zero width", "\x00\x07 control"]
ODD += ["東京タワー", "한국어 텍스트", "русский текст", "العربية", "हिन्दी", "ไทย", "🚲👩‍👩‍👧", "ﬁ ligature ﷺ", "𝕳𝖊𝖑𝖑𝖔"]
ODD += ["don't stop, it's e-mail@example.com", "http://example.com/a?b=c&d=e#f", "[MASK] [SEP] [CLS]", "!!! ??? ..."]
ODD += ["def f(x):\n    return x**2"]
TEXTS = [passage.joined for passage in passages()[:30]] + ODD
FEW = TEXTS[:4] + TEXTS[30:38]


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    if not (HERE / "node_modules/@huggingface/transformers").is_dir():
        pytest.skip(f"needs the packages of tests/javascript/package.json: {INSTALL}")


@pytest.fixture(scope="module")
def minilm(export: Callable[..., Bundle], minilm_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """all-MiniLM-L6-v2 by its recipe, with every precision; not verified, which takes longer than these tests."""
    folder = tmp_path_factory.mktemp("bundles") / "minilm"
    return export("all-MiniLM-L6-v2", folder, precisions=("int8", "fp32", "fp16"), verify=False)


def node(*arguments: str, text: str, temporary: Path) -> Any:
    """Return the JSON that a script prints last."""
    done = subprocess.run(
        ["node", *arguments],
        input=text,
        capture_output=True,
        cwd=HERE,
        env={**os.environ, "TMPDIR": str(temporary)},  # the browser unpacks itself there
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run(script: str, bundle: Path, texts: list[str], temporary: Path, **job: Any) -> Any:
    return node(f"{script}.mjs", text=json.dumps({"bundle": str(bundle), "texts": texts, **job}), temporary=temporary)


def cosines(vectors: Any, expected: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosines of rows; the expected ones have length 1, and so must the vectors."""
    found = np.array(vectors, np.float64)
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    result: NDArray[np.float64] = np.sum(found * expected, axis=1)
    return result


@pytest.mark.parametrize("precision", [None, "fp32", "fp16"])
def test_node_gives_the_same_vectors(minilm: Bundle, tmp_path: Path, precision: Precision | None) -> None:
    load = {"dtype": precision} if precision else {}
    done = run("in_node", minilm.path, TEXTS, tmp_path, load=load, options=MEAN)
    assert done["dtype"] == (precision or "int8")
    same = cosines(done["vectors"], Embedder(minilm.path, precision=precision).encode(TEXTS))
    assert np.count_nonzero(same > 0.999999) >= 56
    assert same.min() > 0.999


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_node_takes_the_precision_that_is_left(tiny_bundle: Bundle, tmp_path: Path, precision: Precision) -> None:
    cut = copy_bundle(tiny_bundle, tmp_path / "cut", precisions=[precision])
    done = run("in_node", cut.path, ["the cat sat", "東京", ""], tmp_path, load={}, options=CLS)
    assert done["dtype"] == precision
    assert cosines(done["vectors"], Embedder(cut.path).encode(["the cat sat", "東京", ""])).min() > 0.99999


def test_without_the_lines_in_config_json_another_graph_is_asked_for(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "cut", precisions=["int8"]).path
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["transformers.js_config"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"onnx/model\.onnx"):
        run("in_node", folder, ["the cat"], tmp_path, load={}, options=CLS)
    options = {"dtype": "int8", "use_external_data_format": True}  # as docs/javascript.md has them for old bundles
    assert run("in_node", folder, ["the cat"], tmp_path, load=options, options=CLS)["dtype"] == "int8"


@pytest.mark.parametrize(("precision", "graph"), [("int8", "model_int8.onnx"), ("fp32", "model.onnx")])
def test_webassembly_is_one_more_processor(minilm: Bundle, tmp_path: Path, precision: Precision, graph: str) -> None:
    done = run("in_wasm", minilm.path, FEW, tmp_path, graph=graph, options=MEAN)
    same = cosines(done["vectors"], Embedder(minilm.path, precision=precision).encode(FEW))
    assert same.min() > (0.999999 if precision == "fp32" else 0.999)
    assert same.mean() > 0.9998


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="@sparticuz/chromium is for Linux on x86-64"
)
class TestChromium:
    """Headless, from npm; a server on loopback is all that it can reach."""

    def run(self, bundle: Bundle, texts: list[str], temporary: Path, **options: Any) -> Any:
        try:
            return run("in_chromium", bundle.path, texts, temporary, load={}, options=options)
        except AssertionError as error:
            if "error while loading shared libraries" in str(error):
                pytest.skip("Chromium needs system libraries: apt-get install libnss3 libexpat1")
            raise

    def test_a_page_gives_the_same_vectors(self, minilm: Bundle, tmp_path: Path) -> None:
        done = self.run(minilm, FEW, tmp_path, **MEAN)
        fetched = [name for name in done["fetched"] if name.startswith("onnx/")]
        assert sorted(fetched) == ["onnx/model_int8.onnx", "onnx/model_int8.onnx_data"]
        weights = (minilm.path / "onnx" / "model_int8.onnx_data").stat().st_size
        assert done["served"]["/bundle/onnx/model_int8.onnx_data"] == weights
        assert done["milliseconds"] > 100
        assert done["memory"] > 4 * weights  # the process of the first, empty page has 80 MB
        same = cosines(done["vectors"], Embedder(minilm.path).encode(FEW))
        assert same.min() > 0.999
        assert same.mean() > 0.9998

    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_page_takes_the_precision_that_is_left(
        self, minilm: Bundle, tmp_path: Path, precision: Precision
    ) -> None:
        cut = copy_bundle(minilm, tmp_path / "cut", precisions=[precision])
        same = cosines(self.run(cut, FEW, tmp_path, **MEAN)["vectors"], Embedder(cut.path).encode(FEW))
        assert same.min() > 0.999999


def test_a_truncated_text_lacks_its_last_token_and_the_function_of_the_docs_keeps_it(
    minilm: Bundle, tmp_path: Path
) -> None:
    joined = [passage.joined for passage in passages()]
    texts = ["word " * 600, " ".join(joined[:8]), "東京タワー" * 200, "🚲 rides " * 300, "a-b.c,d " * 200, "short"]
    function = PAGE.read_text(encoding="utf-8").partition("## Cut long texts")[2].partition("```js\n")[2]
    code = f"""
import {{ pipeline }} from "@huggingface/transformers";
{function.partition("```")[0]}
const model = await pipeline("feature-extraction", {json.dumps(str(minilm.path))});
const embed = async (text) => (await model(text, {json.dumps(MEAN)})).tolist()[0];
const result = {{ whole: [], cut: [], last: [] }};
for (const text of {json.dumps(texts)}) {{
    result.last.push(model.tokenizer(text, {{ truncation: true }}).input_ids.tolist()[0].map(Number).at(-1));
    result.whole.push(await embed(text));
    result.cut.push(await embed(cut(model.tokenizer, text)));
}}
console.log(JSON.stringify(result));
"""
    done = node("--input-type=module", "-", text=code, temporary=tmp_path)
    expected = Embedder(minilm.path).encode(texts, on_truncate="ignore")
    sep = 102
    assert [last == sep for last in done["last"]] == [False] * 5 + [True]
    truncated = cosines(done["whole"], expected)[:5]
    assert (truncated > 0.99).all()
    assert (truncated < 0.9996).all()
    assert cosines(done["cut"], expected).min() > 0.999999


def card_lines(bundle: Bundle, then: str) -> str:
    """The JavaScript of a bundle's model card, and a line that prints a result."""
    card = model_card(bundle.manifest, str(bundle.path), in_javascript=True)
    return card.partition("```js\n")[2].partition("```")[0] + f"\nconsole.log(JSON.stringify({then}));\n"


@pytest.mark.parametrize("name", ["tiny_bundle", "minilm"])
def test_the_lines_of_a_model_card_run(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    model = Embedder(bundle.path)
    code = card_lines(bundle, "vector.tolist()")
    done = node("--input-type=module", "-", text=code, temporary=tmp_path)
    assert cosines(done, model.encode(["some text"])).min() > 0.99999
    if bundle.manifest.prompts.get("query"):
        code = card_lines(bundle, "query.tolist()")
        done = node("--input-type=module", "-", text=code, temporary=tmp_path)
        assert cosines(done, model.encode(["some text"], prompt_name="query")).min() > 0.99999


def test_the_lines_of_a_rerankers_card_run(export: Callable[..., Bundle], tmp_path: Path) -> None:
    from seeded_roberta import write_roberta

    bundle = export(write_roberta(tmp_path / "checkpoint", rerank=True), tmp_path / "bundle", verify=False)
    done = node("--input-type=module", "-", text=card_lines(bundle, "score"), temporary=tmp_path)
    assert done == pytest.approx(Reranker(bundle.path).score([("a question", "some text")])[0], abs=1e-5)
