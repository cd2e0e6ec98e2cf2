"""The members of a request's JSON object, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embedge.errors import short
from embedge.server.limits import Limits
from embedge.server.request_error import RequestError


class Fields:
    """The members of a request. Members that nobody asks for are ignored, as the APIs' own servers do.

    Args:
        members: the JSON object.
        limits: those of the server.
    """

    def __init__(self, members: Mapping[str, Any], limits: Limits) -> None:
        self._members = members
        self.limits = limits

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def value(self, name: str) -> Any:
        """Return a member of any type; None if it is missing."""
        return self._members.get(name)

    def member(self, name: str) -> Fields:
        """Return a member that is an object."""
        value = self._members.get(name)
        if not isinstance(value, Mapping):
            raise RequestError(f"{name} must be an object, found {short(value)}", param=name)
        return Fields({key: one for key, one in value.items() if one is not None}, self.limits)

    def string(self, name: str) -> str | None:
        """Return a string, or None if it is missing."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{name} must be a string, found {short(value)}", param=name)
        return value

    def required_string(self, name: str) -> str:
        """Return a string; raise RequestError if it is missing."""
        value = self.string(name)
        if value is None:
            raise RequestError(f"{name} is missing; send a string", param=name)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._members.get(name, default)
        if not isinstance(value, bool):
            raise RequestError(f"{name} must be true or false, found {short(value)}", param=name)
        return value

    def optional_flag(self, name: str) -> bool | None:
        """Return true or false, or None if it is missing."""
        return self.flag(name, False) if name in self._members else None

    def count(self, name: str, *, most: int | None = None) -> int | None:
        """Return a whole number from 1 to ``most``, or None if it is missing."""
        value = self._members.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise RequestError(f"{name} must be a whole number, found {short(value)}", param=name)
        if value < 1 or (most is not None and value > most):
            limits = "at least 1" if most is None else f"between 1 and {most}"
            raise RequestError(f"{name} must be {limits}, found {short(value)}", param=name)
        return value

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of some strings, in any case."""
        value = self._members.get(name, default)
        for choice in choices:
            if isinstance(value, str) and value.lower() == choice.lower():
                return choice
        raise RequestError(f"{name} must be one of {', '.join(choices)}, found {short(value)}", param=name)

    def choices(self, name: str, choices: Sequence[str], default: Sequence[str]) -> list[str]:
        """Return a list of some of these strings, without an empty list."""
        values = self._members.get(name, list(default))
        if not isinstance(values, list) or not values or not all(value in choices for value in values):
            raise RequestError(f"{name} must be a list of {', '.join(choices)}, found {short(values)}", param=name)
        return values

    def texts(self, name: str, *, ids: str) -> tuple[list[str], bool]:
        """Return one string or a list of strings as a list, and whether it was one.

        Args:
            name: the member's name.
            ids: what to do instead of sending token ids, as the end of a sentence.
        """
        value = self._members.get(name)
        if isinstance(value, str):
            return [value], True
        if value is None:
            raise RequestError(f"{name} is missing; send a string or a list of strings", param=name)
        if not isinstance(value, list):
            raise RequestError(f"{name} must be a string or a list of strings, found {short(value)}", param=name)
        if not value:
            raise RequestError(f"{name} is an empty list; send at least one string", "empty", param=name)
        if len(value) > self.limits.texts:
            raise RequestError(
                f"{name} has {len(value)} texts, and a request may have {self.limits.texts}; send them in several "
                "requests, or start the server with a larger --max-texts",
                "too_many",
                param=name,
            )
        for index, text in enumerate(value):
            if not isinstance(text, str):
                if _are_ids(text):
                    raise RequestError(
                        f"{name} has token ids, which mean other tokens to this model; {ids}", param=name
                    )
                raise RequestError(f"{name}[{index}] must be a string, found {short(text)}", param=name)
        return value, False


def _are_ids(value: object) -> bool:
    """Whether an element of the input is a token id, or a list of token ids."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, int) and not isinstance(first, bool)
