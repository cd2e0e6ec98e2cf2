"""The CPU: how many cores this process may use, and the instruction sets that int8 kernels use."""

import math
import os
import platform
import re
import sys
from pathlib import Path


def usable_cores() -> int:
    """Return how many cores this process may use: the affinity mask, capped by the cgroup CPU quota, at least 1.

    In a container that is limited to half a core of a 64-core host this is 1, not 64: with more threads than the quota,
    the kernel throttles the whole process.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, affinity if quota is None else min(affinity, math.ceil(quota)))


def cgroup_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the CPU quota of this process's cgroup in cores, or None if it has no limit.

    Reads ``cpu.max`` (cgroup v2; the tightest of the process's group and its parents) or ``cpu.cfs_quota_us`` over
    ``cpu.cfs_period_us`` (v1). Source: the kernel's documentation, admin-guide/cgroup-v2.rst and
    scheduler/sched-bwc.rst.
    """
    quotas = [quota for folder in _cgroup_folders(root, own) if (quota := _folder_quota(folder)) is not None]
    return min(quotas, default=None)


def _cgroup_folders(root: Path, own: Path) -> list[Path]:
    """Return the folders whose limits hold for this process: of cgroup v2 and v1, with the group's parents."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [root] if not controllers else [root / controllers, root / "cpu"]
        # Inside a container the path may be the host's; the mount itself is then the container's own group.
        parts = Path(group.lstrip("/"))
        folders += [mount / part for mount in mounts for part in (parts, *parts.parents)]
    return folders


def _folder_quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


# Names of the instruction sets in /proc/cpuinfo or sysctl, and the names that we show.
_X86 = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "avx512vnni": "AVX-512 VNNI"}
_X86 |= {"avx_vnni": "AVX-VNNI", "avxvnni": "AVX-VNNI", "amx_int8": "AMX"}
_ARM = {"asimddp": "dotprod", "feat_dotprod": "dotprod", "i8mm": "i8mm", "feat_i8mm": "i8mm"}


def features() -> tuple[str, ...] | None:
    """Return which of AVX2, AVX-512, VNNI, AMX, dotprod and i8mm this CPU has; None if that is unknown.

    int8 matrix products are fastest with AMX, else with VNNI (x86), or with dotprod and i8mm (ARM).
    """
    known = _ARM if platform.machine().lower() in ("aarch64", "arm64") else _X86
    words = _feature_words()
    if words is None:
        return None
    return tuple(dict.fromkeys(name for word, name in known.items() if word in words))


def _feature_words() -> set[str] | None:
    if sys.platform == "linux":
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
        return set(line[1].lower().split()) if line else None
    if sys.platform == "darwin":
        return _sysctl_words()
    return None


def _sysctl_words() -> set[str] | None:
    """Return feature words of macOS's sysctl: a list on Intel, lines ``hw.optional.arm.FEAT_x: 1`` on Apple silicon."""
    import subprocess  # imported here, because it takes 4 ms of a cold start

    command = ["sysctl", "machdep.cpu", "hw.optional"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.lower()
    except (OSError, subprocess.TimeoutExpired):
        return None
    arm = re.findall(r"hw\.optional\.arm\.(\w+): 1", text)
    intel = " ".join(re.findall(r"machdep\.cpu\.(?:leaf7_)?features: (.*)", text)).split()
    return {*arm, *intel}
