"""JSON files of others: one border, where whatever is wrong with a file becomes one CheckpointError."""

from pathlib import Path
from typing import Any

from embedge.bundle.json_checksum import parse
from embedge.bundle.paths import open_regular
from embedge.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file.

    Raises:
        CheckpointError: it cannot be read, holds no object, or holds what no JSON file may, such as NaN.
    """
    data = read_json_value(path)
    if data is not None and not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object, found {type(data).__name__}; get the checkpoint again")
    return data


def read_json_value(path: Path) -> object:
    """Whatever a JSON file holds; None where there is no such file. Raises CheckpointError as ``read_json``."""
    try:
        with open_regular(path) as file:
            data: object = parse(file.read().decode(), repeats=True)
        if data is None:
            raise ValueError("it holds null")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} cannot be read ({reason}); get the checkpoint again") from error
    return data
