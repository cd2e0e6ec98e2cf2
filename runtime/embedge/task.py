"""A function on a thread of its own.

concurrent.futures takes 5 ms to import, and refuses once the main thread has ended, though others go on.
"""

from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Task(Generic[Result]):
    """Starts at once, in the caller's context: a ``numpy.errstate`` of the caller's holds there, too, since numpy 2.

    Args:
        function: what to call.
        daemon: whether a process may end while it runs.
    """

    def __init__(self, function: Callable[[], Result], *, daemon: bool = False) -> None:
        self._function = function
        self._error: BaseException | None = None
        self._thread = Thread(target=copy_context().run, args=(self._run,), daemon=daemon)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # raised again by who waits for the result
            self._error = error

    def wait(self) -> None:
        """Until the function has ended."""
        self._thread.join()

    def result(self, timeout: float | None = None) -> Result:
        """What the function returned, or raises what it raised; TimeoutError after so many seconds."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result
