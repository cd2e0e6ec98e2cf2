"""The README.md (model card) of a bundle's repository on the hub, made from its manifest."""

import json
from collections.abc import Mapping

from embedge.bundle.manifest import CLASSES, PRECISIONS, Manifest, Pooling, Task

# The hub's own words for a model's task.
_METADATA: Mapping[Task, tuple[str, str]] = {
    "embed": (
        "pipeline_tag: feature-extraction",
        "tags: [embedge, onnx, sentence-transformers, feature-extraction]",
    ),
    "rerank": ("pipeline_tag: text-ranking", "tags: [embedge, onnx, sentence-transformers, text-ranking]"),
}
_USES: Mapping[Task, tuple[str, ...]] = {
    "embed": ('vectors = model.encode(["some text"])',),
    "rerank": ('best_first = model.rank("a question", ["some text", "another"])',),
}
# transformers.js's words (FeatureExtractionPipelineOptions in its pipelines/feature-extraction.js).
_POOLING: Mapping[Pooling, str] = {"cls": "cls", "mean": "mean", "last": "last_token"}


def model_card(manifest: Manifest, hub_id: str, *, in_javascript: bool) -> str:
    """The model card in Markdown, with the metadata that the hub reads at its top.

    Args:
        manifest: the bundle's.
        hub_id: the repository.
        in_javascript: whether the bundle's config.json names its graphs for transformers.js. The card then has lines
            of JavaScript.
    """
    source = manifest.source
    origin = f"[{source.hub_id}](https://huggingface.co/{source.hub_id})" if source.hub_id else source.origin
    lines = [
        "---",
        *_metadata(manifest),
        "---",
        "",
        f"# {hub_id.rpartition('/')[2]}",
        "",
        f"{origin} as an embedge bundle: ONNX graphs, the tokenizer, and a manifest with each file's SHA-256.",
        "",
        *_example(manifest, hub_id),
        "",
        *(_javascript(manifest, hub_id) if in_javascript else []),
        f"{_shape(manifest)}. Licence of the weights: {manifest.licence or 'see ' + origin}.",
        "",
        "| precision | MB | cosine to the reference, mean / min |",
        "|---|---:|---|",
        *_rows(manifest),
        "",
    ]
    return "\n".join(lines)


def _metadata(manifest: Manifest) -> list[str]:
    """Lines of YAML. The licence is that of the weights: an SPDX identifier, which the hub spells in small letters."""
    lines = [
        f"license: {manifest.licence.lower()}" if manifest.licence else "",
        f"base_model: {manifest.source.hub_id}" if manifest.source.hub_id else "",
        "library_name: embedge",
        *_METADATA[manifest.task],
    ]
    return [line for line in lines if line]


def _example(manifest: Manifest, hub_id: str) -> list[str]:
    name = CLASSES[manifest.task]
    return [
        "```python",
        f"from embedge import {name}",
        "",
        f'model = {name}("{hub_id}")',
        *_USES[manifest.task],
        *(['weights = model.encode_sparse(["some text"])'] if manifest.sparse else []),
        *(['multi_vectors = model.encode_multi_vector(["some text"])'] if manifest.multi_vector else []),
        "```",
    ]


def _javascript(manifest: Manifest, hub_id: str) -> list[str]:
    """The same with transformers.js. It reads neither pooling nor prompts, so the lines state them."""
    code = _javascript_rerank(hub_id) if manifest.task == "rerank" else _javascript_embed(manifest, hub_id)
    intro = "In JavaScript, with [transformers.js](https://huggingface.co/docs/transformers.js) 4.0 or later:"
    return [intro, "", "```js", *code, "```", ""]


def _javascript_embed(manifest: Manifest, hub_id: str) -> list[str]:
    options = f'{{ pooling: "{_POOLING[manifest.pooling]}", normalize: {json.dumps(manifest.normalize)} }}'
    prompts = {name: text for name, text in manifest.prompts.items() if text}
    default = prompts.get(manifest.default_prompt or "", "")

    def call(prompt: str, text: str) -> str:
        return f'await model({_quoted(prompt) + " + " if prompt else ""}"{text}", options);'

    lines = [
        'import { pipeline } from "@huggingface/transformers";',
        "",
        f'const model = await pipeline("feature-extraction", {_quoted(hub_id)});',
        f"const options = {options};",
        f"const vector = {call(default, 'some text')}",
    ]
    if "query" in prompts and prompts["query"] != default:
        lines.append(f"const query = {call(prompts['query'], 'some text')}")
    return lines


def _javascript_rerank(hub_id: str) -> list[str]:
    return [
        'import { AutoModelForSequenceClassification, AutoTokenizer } from "@huggingface/transformers";',
        "",
        f"const tokenizer = await AutoTokenizer.from_pretrained({_quoted(hub_id)});",
        f"const model = await AutoModelForSequenceClassification.from_pretrained({_quoted(hub_id)});",
        'const { logits } = await model(tokenizer("a question", { text_pair: "some text" }));',
        "const score = logits.data[0];",
    ]


def _quoted(text: str) -> str:
    """A string of JavaScript, in one line."""
    return json.dumps(text, ensure_ascii=False)


def _shape(manifest: Manifest) -> str:
    if manifest.task == "rerank":
        return f"One score for each pair of at most {manifest.max_tokens} tokens"
    prompts = f", with prompts for {' and '.join(manifest.prompts)}" if manifest.prompts else ""
    return f"{manifest.dimension} dimensions, {manifest.max_tokens} tokens, {manifest.pooling} pooling{prompts}"


def _rows(manifest: Manifest) -> list[str]:
    rows = []
    for name in PRECISIONS:
        if name in manifest.precisions:
            record = manifest.precisions[name]
            size = sum(entry.size for file, entry in manifest.files.items() if file.startswith(record.file))
            quality = record.quality
            measured = f"{quality.cosine_mean:.4f} / {quality.cosine_min:.4f}" if quality else "not measured"
            rows.append(f"| {name} | {size / 1e6:.1f} | {measured} |")
    return rows
