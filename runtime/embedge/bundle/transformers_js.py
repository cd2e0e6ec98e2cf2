"""The member of config.json that tells transformers.js which graph to load, and that its weights are in a second file.

transformers.js is the JavaScript library of Electron apps, browsers and node. By itself it looks for
``onnx/model_quantized.onnx`` or ``onnx/model.onnx``, and fetches the weights beside a graph only if it is told to.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from embedge.bundle.json_checksum import parse
from embedge.bundle.manifest import GRAPHS, PRECISIONS, WEIGHTS_SUFFIX

CONFIG = "config.json"
_MEMBER = "transformers.js_config"


def with_transformers_js(config: Mapping[str, Any], files: Collection[str]) -> bytes:
    """Return the content of config.json with the member for transformers.js that fits a bundle's files.

    transformers.js has our names of precisions, and the file names of ``GRAPHS`` (``DEFAULT_DTYPE_SUFFIX_MAPPING`` in
    its ``utils/dtypes.js``). The number after a graph's name is that of its files of weights.

    Args:
        config: the object in config.json. A member for transformers.js that it has is replaced: it is about the
            checkpoint's own graphs.
        files: the names of the bundle's files. The member names each graph among them. The first one in the order of
            ``PRECISIONS`` is the default, as in Embedder.
    """
    rest = {name: value for name, value in config.items() if name != _MEMBER}
    if present := [name for name in PRECISIONS if GRAPHS[name] in files]:
        split = [GRAPHS[name] for name in present if GRAPHS[name] + WEIGHTS_SUFFIX in files]
        weights = {graph.rpartition("/")[2]: 1 for graph in split}
        rest[_MEMBER] = {"dtype": present[0], **({"use_external_data_format": weights} if weights else {})}
    return (json.dumps(rest, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def names_graphs(path: Path) -> bool:
    """Whether a bundle's config.json has the member. Bundles of embedge 0.1.0 do not have it.

    Raises:
        OSError: the file is there and cannot be read.
    """
    return path.is_file() and _MEMBER in (parse_config(path.read_bytes()) or {})


def parse_config(content: bytes) -> dict[str, Any] | None:
    """Return the object in a bundle's config.json; None if it holds something else, which embedge never wrote."""
    try:
        config = parse(content.decode(), repeats=True)
    except ValueError:
        return None
    return config if isinstance(config, dict) else None
