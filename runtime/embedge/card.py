"""The README.md that a repository on the hub shows of a bundle, by its manifest."""

from embedge.bundle import PRECISIONS, Manifest


def card(manifest: Manifest, hub_id: str) -> str:
    """A model card in Markdown; in front its metadata, as the hub reads them.

    The licence is the weights' own: an SPDX identifier, which the hub spells in small letters.
    """
    source = manifest.source
    origin = f"[{source.hub_id}](https://huggingface.co/{source.hub_id})" if source.hub_id else source.origin
    metadata = [
        f"license: {manifest.licence.lower()}" if manifest.licence else "",
        f"base_model: {source.hub_id}" if source.hub_id else "",
        "library_name: embedge",
        "pipeline_tag: feature-extraction",
        "tags: [embedge, onnx, sentence-transformers, feature-extraction]",
    ]
    lines = [
        "---",
        *filter(None, metadata),
        "---",
        "",
        f"# {hub_id.rpartition('/')[2]}",
        "",
        f"{origin} as an embedge bundle: ONNX graphs, tokenizer and a manifest with every file's SHA-256.",
        "",
        "```python",
        "from embedge import Embedder",
        "",
        f'model = Embedder("{hub_id}")',
        'vectors = model.encode(["some text"])',
        "```",
        "",
        f"{manifest.dimension} dimensions, {manifest.max_tokens} tokens, {manifest.pooling} pooling"
        f"{', with prompts for ' + ' and '.join(manifest.prompts) if manifest.prompts else ''}. "
        f"Licence of the weights: {manifest.licence or 'see ' + origin}.",
        "",
        "| precision | MB | cosine to the reference, mean / min |",
        "|---|---:|---|",
        *_rows(manifest),
        "",
    ]
    return "\n".join(lines)


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
