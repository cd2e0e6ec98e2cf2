"""What a call to encode asks for, checked once."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Literal, Self, get_args

from embedge.bundle.manifest import Manifest
from embedge.errors import InputTypeError, InputValueError, find_surrogate, short

OnTruncate = Literal["ignore", "warn", "error"]
OutputPrecision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
OUTPUT_PRECISIONS: tuple[OutputPrecision, ...] = get_args(OutputPrecision)
# The output types that need the whole set of vectors, because their scale is the set's own range.
RANGED: tuple[OutputPrecision, ...] = ("int8", "uint8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Checked options of any call, whatever it makes of texts.

    Attributes:
        batch_tokens: token budget of one session run; None leaves that to the planner.
        batch_size: most texts in one session run; None leaves that to the budget.
        on_truncate: what to do about texts that are too long.
    """

    batch_tokens: int | None
    batch_size: int | None
    on_truncate: OnTruncate

    @classmethod
    def check(cls, *, batch_tokens: int | None, on_truncate: OnTruncate, batch_size: int | None = None) -> Self:
        """The limits; raises as ``Options.check``."""
        check_choice("on_truncate", on_truncate, get_args(OnTruncate))
        return cls(
            batch_tokens=check_count("batch_tokens", batch_tokens),
            batch_size=check_count("batch_size", batch_size),
            on_truncate=on_truncate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked options of one call that makes vectors.

    Attributes:
        prefix: text put in front of every input.
        normalize: whether vectors are scaled to length 1.
        dimension: how many dimensions are kept.
        precision: type of the vectors.
        limits: what holds for any call.
    """

    prefix: str
    normalize: bool
    dimension: int
    precision: OutputPrecision
    limits: Limits

    @classmethod
    def check(
        cls,
        manifest: Manifest,
        *,
        prompt: str | None,
        prompt_name: str | None,
        batch_tokens: int | None,
        normalize: bool | None,
        truncate_dim: int | None,
        precision: OutputPrecision,
        on_truncate: OnTruncate,
        batch_size: int | None = None,
    ) -> Self:
        """The options, if the model can honour them.

        Raises:
            InputTypeError: an option is of another type; says which and what was found.
            InputValueError: the model cannot honour it; says which option, what was found and what would do.
        """
        check_choice("precision", precision, OUTPUT_PRECISIONS)
        limits = Limits.check(batch_tokens=batch_tokens, batch_size=batch_size, on_truncate=on_truncate)
        return cls(
            prefix=check_prefix(manifest, prompt=prompt, prompt_name=prompt_name),
            normalize=manifest.normalize if normalize is None else check_bool("normalize", normalize),
            dimension=check_count("truncate_dim", truncate_dim, most=manifest.dimension) or manifest.dimension,
            precision=precision,
            limits=limits,
        )


def check_prefix(manifest: Manifest, *, prompt: str | None, prompt_name: str | None) -> str:
    """The text to put in front of every input; raises as ``Options.check``."""
    prompt, prompt_name = check_string("prompt", prompt), check_string("prompt_name", prompt_name)
    return _check_unicode(choose_prompt(manifest.prompts, prompt, prompt_name, manifest.default_prompt))


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises InputValueError where an option is none of its choices, whatever its type."""
    # The type is asked first: an array has no one answer to ==.
    if not isinstance(value, str) or value not in choices:
        raise InputValueError(f"{name} must be one of {', '.join(choices)}, found {short(value)}")


def check_bool(name: str, value: object) -> bool:
    """An option that is True or False, numpy's too; raises InputTypeError where it is something else."""
    if not _is_bool(value):
        raise InputTypeError(f"{name} must be True or False, found {short(value)}")
    return bool(value)


def _is_bool(value: object) -> bool:
    """True or False, numpy's too; without importing numpy, which a cold start does elsewhere meanwhile."""
    kind = type(value)
    return kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


def check_count(name: str, value: object, *, most: int | None = None) -> int | None:
    """An option that is a whole number from 1 to ``most``, numpy's included, or None.

    Raises:
        InputTypeError: it is something else; True is no number, and 10.0 no whole one.
        InputValueError: it is out of range.
    """
    if value is None:
        return None
    try:
        number = None if _is_bool(value) else index(value)  # type: ignore[arg-type]  # what has no __index__ is told
    except TypeError:  # an array of several has one, too
        number = None
    if number is None:
        raise InputTypeError(f"{name} must be a whole number, found {short(value)}")
    if number < 1 or (most is not None and number > most):
        limits = "at least 1" if most is None else f"between 1 and {most}"
        raise InputValueError(f"{name} must be {limits}, found {short(number)}")
    return min(number, sys.maxsize)  # what Python counts with; as good as no limit


def check_string(name: str, value: object) -> str | None:
    """An option that is a string or None; raises InputTypeError where it is something else."""
    if not isinstance(value, str | None):
        raise InputTypeError(f"{name} must be a string, found {short(value)}")
    return value


def _check_unicode(prompt: str) -> str:
    if found := find_surrogate(prompt):
        raise InputValueError(f"the prompt is not valid Unicode: a lone surrogate, {found}; leave it out")
    return prompt


def choose_prompt(prompts: Mapping[str, str], prompt: str | None, name: str | None, default: str | None) -> str:
    """The text to put in front: ``prompt``, else the prompt called ``name``, else the one called ``default``, else "".

    >>> choose_prompt({"query": "query: "}, None, "query", None)
    'query: '

    Raises:
        InputValueError: there is no prompt of that name.
    """
    if prompt is not None:
        return prompt
    name = default if name is None else name
    if name is None:
        return ""
    if name not in prompts:
        raise InputValueError(
            f"no prompt is called {short(name)}, this model has: {', '.join(prompts) or 'none'}; or use prompt="
        )
    return prompts[name]
