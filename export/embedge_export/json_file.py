"""JSON files of others: one border, where whatever is wrong with a file becomes one CheckpointError."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from embedge.errors import CheckpointError
from embedge.paths import open_regular


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
            data = json.loads(file.read().decode(), parse_float=_finite, parse_constant=_refuse)
        if data is None:
            raise ValueError("it holds null")
        # An escaped half of a surrogate pair is in no text, and could not be written again.
        json.dumps(data, ensure_ascii=False).encode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} cannot be read ({reason}); get the checkpoint again") from error
    return data


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _refuse(found: str) -> NoReturn:
    raise ValueError(f"{found[:40]} is no number that JSON has")
