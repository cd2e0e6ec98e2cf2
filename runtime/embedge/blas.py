"""numpy's idle threads: OpenBLAS starts one for every further core as numpy is imported, and each spins for 100 ms.

That is while a bundle is loaded. On two cores its files are hashed and its session opens beside a thread that does
nothing, and a first vector comes a sixth later.
"""

import ctypes
import os
import sys
from pathlib import Path

_LIBRARIES = "numpy.libs"  # beside the package, in numpy's wheels for Linux
_SHUTDOWN = "blas_thread_shutdown_"


def stop_idle_threads(numpy_file: str) -> None:
    """End them. The first product of matrices that is large enough for them starts them again, as many as before.

    OpenBLAS itself does this before a process forks: it gives the same function to ``pthread_atfork`` (source: its
    driver/others/memory.c and blas_server.c). Nobody may use numpy meanwhile, so this is for who has just imported it;
    the interpreter lock is held. Without OpenBLAS, and elsewhere than on Linux, nothing is done.

    Args:
        numpy_file: numpy's ``__file__``.
    """
    if not sys.platform.startswith("linux"):
        return
    for path in (Path(numpy_file).parents[1] / _LIBRARIES).glob("*openblas*.so*"):
        try:
            shut_down = getattr(ctypes.PyDLL(str(path), mode=os.RTLD_NOLOAD), _SHUTDOWN)
        except (OSError, AttributeError):  # not loaded, or built without threads
            continue
        shut_down()
