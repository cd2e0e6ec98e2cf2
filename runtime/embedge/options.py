"""What a call to encode asks for, checked once."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self, get_args

from embedge.bundle import Manifest
from embedge.errors import TextValueError
from embedge.plan import DEFAULT_BATCH_TOKENS
from embedge.pool import OUTPUT_PRECISIONS, OutputPrecision

OnTruncate = Literal["ignore", "warn", "error"]
_MANY = 64  # texts; fewer are done before a progress bar could be read
_PATIENCE = 1.0  # seconds before the bar appears


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked options of one call.

    Attributes:
        prefix: text put in front of every input.
        batch_tokens: token budget of one session run.
        normalize: whether vectors are scaled to length 1.
        dimension: how many dimensions are kept.
        precision: type of the vectors.
        on_truncate: what to do about texts that are too long.
    """

    prefix: str
    batch_tokens: int
    normalize: bool
    dimension: int
    precision: OutputPrecision
    on_truncate: OnTruncate

    @classmethod
    def check(
        cls,
        manifest: Manifest,
        *,
        prompt: str | None,
        prompt_name: str | None,
        batch_tokens: int | None,
        normalize: bool,
        truncate_dim: int | None,
        precision: OutputPrecision,
        on_truncate: OnTruncate,
    ) -> Self:
        """The options, if the model can honour them.

        Raises:
            TextValueError: it cannot; says which option, what was found and what would do.
        """
        if precision not in OUTPUT_PRECISIONS:
            raise TextValueError(f"precision must be one of {', '.join(OUTPUT_PRECISIONS)}, found {precision!r}")
        if on_truncate not in get_args(OnTruncate):
            raise TextValueError(f"on_truncate must be ignore, warn or error, found {on_truncate!r}")
        if batch_tokens is not None and batch_tokens < 1:
            raise TextValueError(f"batch_tokens must be at least 1, found {batch_tokens}")
        if truncate_dim is not None and not 1 <= truncate_dim <= manifest.dimension:
            raise TextValueError(f"truncate_dim must be between 1 and {manifest.dimension}, found {truncate_dim}")
        return cls(
            prefix=choose_prompt(manifest.prompts, prompt, prompt_name, manifest.default_prompt),
            batch_tokens=batch_tokens or DEFAULT_BATCH_TOKENS,
            normalize=normalize,
            dimension=truncate_dim or manifest.dimension,
            precision=precision,
            on_truncate=on_truncate,
        )


def choose_prompt(prompts: Mapping[str, str], prompt: str | None, name: str | None, default: str | None) -> str:
    """The text to put in front: ``prompt``, else the prompt called ``name``, else the one called ``default``, else "".

    >>> choose_prompt({"query": "query: "}, None, "query", None)
    'query: '

    Raises:
        TextValueError: there is no prompt of that name.
    """
    if prompt is not None:
        return prompt
    name = default if name is None else name
    if name is None:
        return ""
    if name not in prompts:
        raise TextValueError(
            f"no prompt is called {name!r}, this model has: {', '.join(prompts) or 'none'}; or use prompt="
        )
    return prompts[name]


@contextmanager
def progress(total: int, show: bool | None) -> Iterator[Callable[[int], object]]:
    """A progress bar on stderr over ``total`` texts; None shows it when the work is long and stderr is a terminal."""
    if show or (show is None and total >= _MANY and sys.stderr.isatty()):
        from tqdm import tqdm

        with tqdm(total=total, unit="text", delay=0 if show else _PATIENCE) as bar:
            yield bar.update
    else:
        yield lambda count: None
