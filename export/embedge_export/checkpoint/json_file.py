"""Reads JSON files of a checkpoint; whatever is wrong with one becomes a CheckpointError."""

from pathlib import Path
from typing import Any

from embedge.bundle.json_checksum import parse
from embedge.bundle.paths import open_regular
from embedge.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None if the file does not exist.

    Raises:
        CheckpointError: the file cannot be read, holds no JSON object, or holds a value that JSON does not allow, such
            as NaN.
    """
    data = read_json_value(path)
    if data is not None and not isinstance(data, dict):
        raise CheckpointError(
            f"{path} must hold a JSON object, found {type(data).__name__}; download or copy the checkpoint again"
        )
    return data


def read_json_value(path: Path) -> object:
    """Return any value in a JSON file, or None if the file does not exist. Raises CheckpointError as ``read_json``."""
    try:
        with open_regular(path) as file:
            data: object = parse(file.read().decode(), repeats=True)
        if data is None:
            raise ValueError("it holds null")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} cannot be read ({reason}); download or copy the checkpoint again") from error
    return data
