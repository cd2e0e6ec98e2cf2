"""llama-cpp-python's server, compiled on this machine. It answers one request at a time, on all cores."""

from typing import TYPE_CHECKING

from benchmarks.peers import llama
from benchmarks.peers.base import Kit

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_TOKENS = 512  # of the longest text


def build(bench: "Workbench", variant: str) -> None:
    """Write the GGUF file."""
    llama.build(bench, variant)


def serve(kit: Kit) -> list[str]:
    """Return the arguments of Python that run the server, but for its port."""
    return [
        *("-m", "llama_cpp.server"),
        *("--model", str(llama.path_of(kit.folder, kit.variant))),
        *("--embedding", "true"),
        *("--n_ctx", str(_TOKENS)),
        *("--n_batch", str(_TOKENS)),
        *("--n_ubatch", str(_TOKENS)),
        *("--n_threads", str(kit.threads)),
        *("--n_threads_batch", str(kit.threads)),
        *("--flash_attn", "true"),
        *("--verbose", "false"),
        *("--host", "127.0.0.1"),
    ]
