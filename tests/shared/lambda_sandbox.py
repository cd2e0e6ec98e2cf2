"""Run this Python as AWS Lambda runs a function, as far as one Linux machine can.

It runs as another user, on one core, with a read-only task root, no home, and a /dev/shm that cannot be written. That
needs root: a mount namespace of its own shows Python, the packages and the task root, read-only, below /mnt.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import embedge

NOBODY = 65534  # the user without rights, on Linux
TASK = "/mnt/task"
# $1 core, $2 prefix of Python, $3 packages, $4 folder of embedge, $5 task root; then the command.
_SCRIPT = f"""
set -e
core=$1; prefix=$2; packages=$3; runtime=$4; task=$5; shift 5
mount -t tmpfs -o mode=755 tmpfs /mnt
for pair in python="$prefix" packages="$packages" runtime/embedge="$runtime" task="$task"; do
    mkdir -p /mnt/"${{pair%%=*}}"
    mount --bind "${{pair#*=}}" /mnt/"${{pair%%=*}}"
    mount -o remount,bind,ro /mnt/"${{pair%%=*}}"
done
mount -o remount,ro /mnt
mount -t tmpfs -o ro,mode=755 tmpfs /dev/shm
cd {TASK}
exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs --bounding-set=-all taskset -c "$core" "$@"
"""


@cache
def why_not() -> str | None:
    """Why this machine cannot run it; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root, for a mount namespace"
    for tool in ("unshare", "setpriv", "taskset"):
        if shutil.which(tool) is None:
            return f"needs {tool}"
    tried = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    return None if tried.returncode == 0 else f"needs mounts, which fail here: {tried.stderr.decode().strip()}"


def sandboxed(task_root: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command that runs this Python in the sandbox, with arguments, and no variables but those of ``environment``.

    ``PYTHONPATH`` has the packages of this environment and embedge, and not the task root.
    """
    core = str(min(os.sched_getaffinity(0)))
    folders = (sys.base_prefix, sysconfig.get_path("purelib"), str(Path(embedge.__file__).parent), str(task_root))
    python = f"/mnt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    own = {"PATH": "/usr/bin:/bin", "LAMBDA_TASK_ROOT": TASK, "PYTHONPATH": "/mnt/runtime:/mnt/packages"}
    own["LD_LIBRARY_PATH"] = "/mnt/python/lib"  # where this Python's own library is, if it has one
    variables = [f"{name}={value}" for name, value in {**own, **environment}.items()]
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        _SCRIPT,
        "sh",
        core,
        *folders,
        "env",
        "-i",
        *variables,
        python,
        *arguments,
    ]
