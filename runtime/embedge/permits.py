"""A semaphore of the system's threads, also where gevent or eventlet has put greenlets in the place of threads."""

from _queue import Empty, SimpleQueue  # queue's own, which gevent replaces there


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
