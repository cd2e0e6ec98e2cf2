"""The options of a call, checked once."""

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
# The output types that need all vectors of a call, because their scale is the range of these vectors.
RANGED: tuple[OutputPrecision, ...] = ("int8", "uint8")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """Checked options that every call has, whatever it returns.

    Attributes:
        batch_tokens: token budget of one session run; None leaves it to the planner.
        batch_size: the largest number of texts in one session run; None leaves it to the token budget.
        on_truncate: what to do about texts that are too long.
        show_progress_bar: whether to show a progress bar on stderr; None shows one if the work is long and stderr is a
            terminal.
    """

    batch_tokens: int | None
    batch_size: int | None
    on_truncate: OnTruncate
    show_progress_bar: bool | None

    @classmethod
    def check(
        cls,
        *,
        batch_tokens: int | None,
        on_truncate: OnTruncate,
        show_progress_bar: bool | None,
        batch_size: int | None = None,
    ) -> Self:
        """Check the options; raises as ``VectorOptions.check``."""
        check_choice("on_truncate", on_truncate, get_args(OnTruncate))
        show = None if show_progress_bar is None else check_bool("show_progress_bar", show_progress_bar)
        return cls(
            batch_tokens=check_count("batch_tokens", batch_tokens),
            batch_size=check_count("batch_size", batch_size),
            on_truncate=on_truncate,
            show_progress_bar=show,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorOptions:
    """Checked options of a call that returns vectors.

    Attributes:
        prefix: text to put in front of every input.
        normalize: whether to scale vectors to length 1.
        dimension: how many dimensions to return, the first ones.
        precision: type of the vectors.
        call: the options that every call has.
    """

    prefix: str
    normalize: bool
    dimension: int
    precision: OutputPrecision
    call: CallOptions

    @classmethod
    def check(
        cls,
        manifest: Manifest,
        *,
        prompt: str | None,
        prompt_name: str | None,
        normalize: bool | None,
        truncate_dim: int | None,
        precision: OutputPrecision,
        call: CallOptions,
    ) -> Self:
        """Check the options against the model's manifest.

        Raises:
            InputTypeError: an option has the wrong type; the message says which and what was found.
            InputValueError: an option has a value that the model does not take; the message says which option, what
                was found and which values it takes.
        """
        check_choice("precision", precision, OUTPUT_PRECISIONS)
        return cls(
            prefix=check_prefix(manifest, prompt=prompt, prompt_name=prompt_name),
            normalize=manifest.normalize if normalize is None else check_bool("normalize", normalize),
            dimension=check_count("truncate_dim", truncate_dim, most=manifest.dimension) or manifest.dimension,
            precision=precision,
            call=call,
        )


def check_prefix(manifest: Manifest, *, prompt: str | None, prompt_name: str | None) -> str:
    """Return the text to put in front of every input; raises as ``VectorOptions.check``."""
    prompt, prompt_name = check_string("prompt", prompt), check_string("prompt_name", prompt_name)
    return _check_unicode(choose_prompt(manifest.prompts, prompt, prompt_name, manifest.default_prompt))


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise InputValueError if an option is none of its choices, whatever its type."""
    # The type comes first: an array compares element by element.
    if not isinstance(value, str) or value not in choices:
        raise InputValueError(f"{name} must be one of {', '.join(choices)}, found {short(value)}")


def check_bool(name: str, value: object) -> bool:
    """Return an option that is True or False, numpy's included; raise InputTypeError for anything else."""
    if not _is_bool(value):
        raise InputTypeError(f"{name} must be True or False, found {short(value)}")
    return bool(value)


def _is_bool(value: object) -> bool:
    """Whether a value is True or False, numpy's included; without importing numpy, which a cold start does later."""
    kind = type(value)
    return kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


def check_count(name: str, value: object, *, most: int | None = None) -> int | None:
    """Return an option that is a whole number from 1 to ``most``, numpy's included, or None.

    Raises:
        InputTypeError: it is something else, such as True or 10.0.
        InputValueError: it is out of range.
    """
    if value is None:
        return None
    try:
        number = None if _is_bool(value) else index(value)  # type: ignore[arg-type]  # refused below if it has no __index__
    except TypeError:  # an array of several numbers has an __index__, which raises this, too
        number = None
    if number is None:
        raise InputTypeError(f"{name} must be a whole number, found {short(value)}")
    if number < 1 or (most is not None and number > most):
        limits = "at least 1" if most is None else f"between 1 and {most}"
        raise InputValueError(f"{name} must be {limits}, found {short(number)}")
    return min(number, sys.maxsize)  # Python's largest size, which is as good as no limit


def check_string(name: str, value: object) -> str | None:
    """Return an option that is a string or None; raise InputTypeError for anything else."""
    if not isinstance(value, str | None):
        raise InputTypeError(f"{name} must be a string, found {short(value)}")
    return value


def _check_unicode(prompt: str) -> str:
    if found := find_surrogate(prompt):
        raise InputValueError(f"the prompt is not valid Unicode: a lone surrogate, {found}; remove it")
    return prompt


def choose_prompt(prompts: Mapping[str, str], prompt: str | None, name: str | None, default: str | None) -> str:
    """Return the text to put in front: ``prompt``, else the prompt ``name``, else the prompt ``default``, else "".

    >>> choose_prompt({"query": "query: "}, None, "query", None)
    'query: '

    Raises:
        InputValueError: the model has no prompt of that name.
    """
    if prompt is not None:
        return prompt
    name = default if name is None else name
    if name is None:
        return ""
    if name not in prompts:
        choose = "use one of them, or pass a text as prompt=" if prompts else "pass a text as prompt="
        raise InputValueError(
            f"no prompt is called {short(name)}, this model has: {', '.join(prompts) or 'none'}; {choose}"
        )
    return prompts[name]
