"""The token id to pad batches with."""

import json

from embedge.bundle.directory import Bundle
from embedge.bundle.paths import read_regular
from embedge.errors import BundleError

_CONFIG = "config.json"
_LARGEST_CONFIG = 1 << 24  # bytes; real ones have a thousand


def read_pad_id(bundle: Bundle) -> int:
    """Return ``pad_token_id`` of a bundle's ``config.json``; 0 if it has none.

    Most models take any id, because the attention mask hides padding. RoBERTa needs this one: it numbers the tokens
    that are not padding, and another id would give padding positions that the model does not have.

    Raises:
        BundleCorruptError: the file is missing, or is not the one that was exported.
        BundleError: it is not valid JSON, or the id is not a whole number from 0.
    """
    bundle.check((_CONFIG,), only_damage=True)
    path = bundle.path / _CONFIG
    try:
        pad_id = json.loads(read_regular(path, _LARGEST_CONFIG)).get("pad_token_id")
    except (OSError, ValueError, AttributeError) as error:
        raise BundleError(f"{path} is not a model's config ({error}); export the bundle again") from error
    if pad_id is None:
        return 0
    if type(pad_id) is not int or not 0 <= pad_id < 2**31:
        raise BundleError(f"{path} has the pad_token_id {pad_id!r}, not a token id; export the bundle again")
    return pad_id
