"""How much memory this process may still take, and how much a checkpoint needs."""

from pathlib import Path

from embedge_export.checkpoint.read import Checkpoint

# PyTorch and transformers themselves, and the states of a batch: 0.5 and 0.2 GB, measured with torch 2.13.
_LIBRARIES = 1_000_000_000
_HALF = ("float16", "bfloat16")


def fits(checkpoint: Checkpoint, *, available: int | None) -> bool:
    """Return whether transformers can hold a checkpoint's model, in float32, in the available memory.

    Args:
        checkpoint: the checkpoint.
        available: bytes, from ``available_memory``; None if unknown: then it fits.
    """
    return available is None or needed_memory(checkpoint) <= available


def needed_memory(checkpoint: Checkpoint) -> int:
    """Return how many bytes transformers needs for a checkpoint's model in float32; an estimate."""
    stored = sum(path.stat().st_size for path in checkpoint.weights)
    is_half = checkpoint.config.get("torch_dtype", checkpoint.config.get("dtype")) in _HALF
    return stored * (2 if is_half else 1) + _LIBRARIES


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how many bytes are available: to the system, and within the cgroup's limit; None where Linux is not.

    Source: the kernel's documentation, filesystems/proc.rst (MemAvailable) and admin-guide/cgroup-v2.rst.
    """
    return min(filter(None, (_of_system(proc), _of_group(groups))), default=None)


def _of_system(proc: Path) -> int | None:
    try:
        lines = (proc / "meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _of_group(folder: Path) -> int | None:
    """What a container has left: its root is the container's own group."""
    try:
        limit, used = ((folder / f"memory.{name}").read_text(encoding="utf-8").strip() for name in ("max", "current"))
        return None if limit == "max" else max(1, int(limit) - int(used))
    except (OSError, ValueError):
        return None
