"""Boot an emulated ARM board with little memory, run `embedge info` on it, and print the memory of embedding.

python tests/emulated/board.py --help
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from board_files import MODULES, write_initrd
from debian import CannotEmulateError, unpack_packages
from embedge.bundle.cache_paths import cache_home
from machines import CPUS, RUNTIME, kept, root_of

_CANNOT = 77  # as in run.py
_CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")
# What the command needs beside the packages that embedding needs; none has a compiled part.
_COMMAND = ("click", "packaging", "platformdirs", "tqdm")
_LIMIT = 3600  # seconds
_MEMORY = Path(__file__).with_name("memory.py")


def main() -> int:
    """Print what the board printed, and a table in MB; 1 if it did not get to the end, 77 if it cannot be emulated."""
    options = _options()
    try:
        emulator, kernel = _machine(cache_home() / "emulated")
        root = root_of(CPUS[_CPUS[-1]], cache_home() / "emulated")
    except CannotEmulateError as error:
        print(f"not emulated: {error}", file=sys.stderr)
        return _CANNOT
    with tempfile.TemporaryDirectory() as folder:
        disk, initrd = Path(folder, "disk"), Path(folder, "initrd")
        _write_disk(root, Path(options.bundle), Path(folder, "root"), disk)
        write_initrd(kernel, initrd)
        command = _command(emulator, kernel, options, disk=disk, initrd=initrd)
        steps = _run(command, emulator)
    columns = [name for name in steps[0] if name != "step"] if steps else []
    print(f"\n{'MB':<24}" + "".join(f"{name:>11}" for name in columns))
    for step in steps:
        print(f"{step['step']:<24}" + "".join(f"{int(step[name]) / 1e6:11.0f}" for name in columns))
    return 0 if len(steps) == 5 else 1


def _run(command: list[str], emulator: Path) -> list[dict[str, str | int]]:
    """Run the board until it powers off; print its lines, and return those that are steps."""
    libraries = [str(emulator / part / "x86_64-linux-gnu") for part in ("usr/lib", "lib")]
    process = subprocess.Popen(
        ["timeout", str(_LIMIT), *command],
        env={"LD_LIBRARY_PATH": ":".join(libraries), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    steps = []
    assert process.stdout
    try:
        for line in process.stdout:
            if line.startswith('{"step"'):
                steps.append(json.loads(line))
            print(line.rstrip(), flush=True)
    finally:
        process.terminate()
        process.wait()
    return steps


def _command(emulator: Path, kernel: Path, options: argparse.Namespace, *, disk: Path, initrd: Path) -> list[str]:
    image = next(kernel.glob("boot/vmlinuz-*"))
    machine = ["-M", "virt", "-cpu", options.cpu, "-smp", str(options.cores), "-m", f"{options.memory}M"]
    return [
        *(str(emulator / "usr/bin/qemu-system-aarch64"), "-L", str(emulator / "usr/share/qemu"), *machine),
        *("-nographic", "-nic", "none", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(initrd), "-append", "console=ttyAMA0 quiet panic=1"),
        *("-drive", f"file={disk},format=raw,if=virtio,readonly=on"),
    ]


def _machine(cache: Path) -> tuple[Path, Path]:
    """QEMU for whole machines, and a kernel for 64-bit ARM: the roots that their packages are unpacked in."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise CannotEmulateError(f"this is {sys.platform} on {platform.machine()}, not Linux on x86_64")
    emulator = kept(
        cache / "qemu-system-arm",
        lambda folder: unpack_packages(["qemu-system-arm", "ipxe-qemu"], architecture="amd64", folder=folder),
    )
    kernel = kept(
        cache / "kernel-arm64",
        lambda folder: unpack_packages(
            ["linux-image-cloud-arm64", "busybox-static"], architecture="arm64", folder=folder
        ),
    )
    if not list(kernel.rglob(f"{MODULES[-1]}.ko")):
        raise CannotEmulateError(f"{kernel} has no module {MODULES[-1]}; delete that folder")
    return emulator, kernel


def _write_disk(root: Path, bundle: Path, folder: Path, disk: Path) -> None:
    """Write a disk with Python, the runtime's packages, embedge, the bundle and memory.py."""
    if shutil.which("mke2fs") is None:
        raise CannotEmulateError("mke2fs is not installed; `apt-get install e2fsprogs` brings it")
    shutil.copytree(root, folder, symlinks=True)
    packages = folder / "packages"
    shutil.copytree(RUNTIME / "embedge", packages / "embedge", ignore=shutil.ignore_patterns("__pycache__"))
    for name in _COMMAND:
        found = distribution(name)
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(found.locate_file(file)), packages / file)
    shutil.copytree(bundle, folder / "bundle")
    shutil.copyfile(_MEMORY, folder / "memory.py")
    for name in ("proc", "sys", "dev", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    megabytes = size // 1_000_000 * 5 // 4 + 64
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(folder), str(disk), f"{megabytes}M"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Boot an emulated ARM board, run `embedge info` on it, and print the memory of embedding. The exit "
        f"code is 0 if the board got to the end, 1 if not, and {_CANNOT} if it cannot be emulated here."
    )
    parser.add_argument("bundle", help="path of a bundle with an int8 graph")
    parser.add_argument("--cpu", default=_CPUS[-1], choices=_CPUS, help="processor (default: %(default)s)")
    parser.add_argument("--cores", type=int, default=4, help="cores (default: %(default)s)")
    parser.add_argument("--memory", type=int, default=512, help="memory in MiB (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
