"""Threads and semaphores that also work under gevent and eventlet, and that cost little to import.

``concurrent.futures`` takes 5 ms to import, and starts no thread once the main thread has ended, though other threads
may still embed.
"""

import _thread
import sys
import threading
from _queue import Empty, SimpleQueue  # the C type: gevent replaces the one in the module queue
from collections.abc import Callable
from contextvars import copy_context
from types import BuiltinFunctionType
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class BackgroundTask(Generic[Result]):
    """A function that runs on a thread of its own, from the moment that the task is made.

    It runs in a copy of the caller's context. So with numpy 2 or later, the caller's ``numpy.errstate`` applies to it,
    too. If the system cannot start another thread, the first caller of ``wait`` or ``result`` runs the function itself.

    Args:
        function: what to call; takes no arguments.
        daemon: whether the process may end while the function runs; under gevent and eventlet it always may.
    """

    def __init__(self, function: Callable[[], Result], *, daemon: bool = False) -> None:
        self._function = function
        self._error: BaseException | None = None
        self._ended = Semaphore(0)
        try:
            start_thread(copy_context().run, self._run, daemon=daemon)
            self._is_started = True
        except RuntimeError:  # "can't start new thread": there are too many, or the interpreter is shutting down
            self._is_started = False

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # result() raises it again in the caller's thread
            self._error = error
        finally:
            self._ended.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the function has ended; return False if it has not after ``timeout`` seconds."""
        if not self._is_started:
            self._is_started = True
            self._run()
        ended = self._ended.acquire(timeout=timeout)
        if ended:
            self._ended.release()  # for the next caller that waits
        return ended

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the function and return its result.

        Raises:
            TimeoutError: it has not ended after ``timeout`` seconds.
            BaseException: the error that the function raised.
        """
        if not self.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result


def start_thread(
    function: Callable[[Callable[[], None]], object], argument: Callable[[], None], *, daemon: bool
) -> None:
    """Call the function with the argument on a real thread; raise RuntimeError if the system cannot start one.

    Once gevent or eventlet has patched ``threading``, a ``threading.Thread`` is only a greenlet, so it is not used
    then.
    """
    begin = _thread.start_new_thread  # a function in C, which gevent and eventlet replace by one in Python
    if isinstance(begin, BuiltinFunctionType):
        threading.Thread(target=function, args=(argument,), daemon=daemon).start()
        return
    modules: dict[str, Any] = {name: sys.modules.get(name) for name in ("gevent.monkey", "eventlet.patcher")}
    if modules["gevent.monkey"]:
        begin = modules["gevent.monkey"].get_original("_thread", "start_new_thread")
    elif modules["eventlet.patcher"]:
        begin = modules["eventlet.patcher"].original("_thread").start_new_thread
    begin(function, (argument,))


class Semaphore:
    """A counting semaphore; may be used as a context manager.

    ``threading.Semaphore`` consists of locks that ``gevent.monkey`` replaces. The replacements wake only greenlets of
    their own thread. Callers on several threads, such as those of gevent's thread pool, would wait for ever.

    Args:
        count: the initial value: how many callers may acquire it before one has to wait.
    """

    def __init__(self, count: int) -> None:
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self.release()

    def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit, waiting up to ``timeout`` seconds; return False if none was free in that time."""
        try:
            self._permits.get(blocking, timeout)
        except Empty:
            return False
        return True

    def release(self) -> None:
        """Return a permit, or add one."""
        self._permits.put(None)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()
