"""Keeps a forked child from destroying its parent's sessions.

A fork copies a session, but not the threads of its pool. ONNX Runtime's destructor waits for these threads, and never
returns, or aborts. So a child must never destroy a session of its parent: not when a model is dropped, and not when
Python ends, which destroys what modules hold.
"""

import os
from weakref import WeakSet

_OPEN: WeakSet[object] = WeakSet()  # this process's sessions
_PARENTS: list[object] = []  # the sessions of this process's parents


def keep_in_children(session: object) -> None:
    """Keep a session from being destroyed in children that fork from now on; this process may destroy it."""
    _OPEN.add(session)


def _keep_sessions_of_parent() -> None:
    """Hold the parent's sessions until this process is gone: Python's own end destroys none of them."""
    if _OPEN and not _PARENTS:
        import ctypes  # numpy has imported it long before there is a session

        # One reference too many: without it, Python would destroy the list when it ends and clears this module.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_PARENTS))
    _PARENTS.extend(_OPEN)
    _OPEN.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_keep_sessions_of_parent)
