"""A function on a thread of its own.

concurrent.futures takes 5 ms to import, and refuses once the main thread has ended, though others go on.
"""

import _thread
import sys
import threading
from _queue import Empty, SimpleQueue  # queue's own, which gevent replaces there
from collections.abc import Callable
from contextvars import copy_context
from types import BuiltinFunctionType
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Task(Generic[Result]):
    """Starts at once, in the caller's context: a ``numpy.errstate`` of the caller's holds there, too, since numpy 2.

    Where the system gives no more threads the function is called by who waits for it.

    Args:
        function: what to call.
        daemon: whether a process may end while it runs; with gevent or eventlet it may in any case.
    """

    def __init__(self, function: Callable[[], Result], *, daemon: bool = False) -> None:
        self._function = function
        self._error: BaseException | None = None
        self._ended = Permits(0)
        try:
            _start(copy_context().run, self._run, daemon=daemon)
            self._is_started = True
        except RuntimeError:  # "can't start new thread": too many, or the interpreter is about to end
            self._is_started = False

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # raised again by who waits for the result
            self._error = error
        finally:
            self._ended.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Until the function has ended; False where it has not after so many seconds."""
        if not self._is_started:
            self._is_started = True
            self._run()
        ended = self._ended.acquire(timeout=timeout)
        if ended:
            self._ended.release()  # for the next who waits
        return ended

    def result(self, timeout: float | None = None) -> Result:
        """What the function returned, or raises what it raised; TimeoutError after so many seconds."""
        if not self.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result


def _start(function: Callable[[Callable[[], None]], object], argument: Callable[[], None], *, daemon: bool) -> None:
    """Call the function on a real thread; gevent and eventlet, once they patch ``threading``, start greenlets there."""
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


class Permits:
    """Some permits, which threads take and give back; may be used as a context manager.

    A ``threading.Semaphore`` is made of locks that ``gevent.monkey`` replaces. These wake greenlets of their own
    thread, and callers on several threads, such as those of ``hub.threadpool``, then wait for ever.

    Args:
        count: how many there are at first.
    """

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self.release()

    def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take one, when there is one; False where there was none, at once or for ``timeout`` seconds."""
        try:
            self._free.get(blocking, timeout)
        except Empty:
            return False
        return True

    def release(self) -> None:
        """Give one back, or one more."""
        self._free.put(None)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()
