"""Work on slices of an array with all cores. numpy lets other threads run while it computes."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from embedge.inference.cpu import usable_cores

_ELEMENTS = 1 << 16  # of a slice: 256 kB of float32, so that the passes of one slice stay in a core's cache


def for_slices(work: Callable[[slice], object], count: int, *, width: int) -> None:
    """Call ``work`` for slices that cover ``range(count)``, in several threads; an exception of one is raised.

    Args:
        work: a function of a slice. The result must not depend on how the range is cut.
        count: rows or columns of an array.
        width: elements of one row or column.
    """
    step = max(1, _ELEMENTS // max(1, width))
    slices = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    threads = min(usable_cores(), len(slices))
    if threads < 2:
        _for_each(work, slices)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(_for_each, work, slices[start::threads]) for start in range(threads)]:
            done.result()


def _for_each(work: Callable[[slice], object], slices: Iterable[slice]) -> None:
    for part in slices:
        work(part)
