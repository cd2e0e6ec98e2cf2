"""Chooses the precision of a bundle's graph: the requested one, else the best one that the bundle holds."""

from collections.abc import Callable, Iterable, Sequence

from embedge.bundle.manifest import PRECISIONS, Manifest, Precision
from embedge.errors import InputValueError, PrecisionNotFoundError, short


def check_precision(precision: object) -> Precision:
    """Return ``precision`` if it is one that embedge knows, whether or not a bundle has it.

    Raises:
        InputValueError: embedge does not know it; the message lists those that it knows.
    """
    for name in PRECISIONS if isinstance(precision, str) else ():
        if precision == name:
            return name
    raise InputValueError(f"precision must be one of {', '.join(PRECISIONS)}, found {short(precision)}")


def pick_precision(
    manifest: Manifest,
    precision: str | None,
    *,
    where: str,
    command: Callable[[Precision], str],
    preferred: Iterable[Precision] = PRECISIONS,
) -> Precision:
    """Return the requested precision; for None the first of ``preferred`` that the bundle holds.

    Args:
        manifest: the bundle's manifest.
        precision: the requested one, or None.
        where: names the bundle in errors.
        command: gives the command to type for a precision that the bundle lacks.
        preferred: the order in which precisions are tried if ``precision`` is None.

    Raises:
        InputValueError: there is no such precision.
        PrecisionNotFoundError: the bundle lacks it; the message has the command.
    """
    wanted = tuple(preferred) if precision is None else (check_precision(precision),)
    for name in wanted:
        if name in manifest.precisions:
            return name
    present = ", ".join(name for name in PRECISIONS if name in manifest.precisions) or "no known precision"
    raise PrecisionNotFoundError(
        f"{where} holds {present}, not {' or '.join(wanted)}; run `{command(wanted[0])}` to get it"
    )


def pick_precisions(
    manifest: Manifest, precisions: Sequence[str] | None, *, where: str, command: Callable[[Precision], str]
) -> tuple[Precision, ...]:
    """Return the requested precisions in the order of ``PRECISIONS``; by default the one that Embedder loads.

    Arguments and errors are those of ``pick_precision``.
    """
    picked = [pick_precision(manifest, name, where=where, command=command) for name in precisions or (None,)]
    return tuple(name for name in PRECISIONS if name in picked)
