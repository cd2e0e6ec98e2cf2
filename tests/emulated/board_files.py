"""The first files of an emulated board: an initial RAM disk that mounts the disk and runs two commands on it."""

from pathlib import Path

# In the order of their needs: the first two need each other's symbols in some kernels, and come twice.
MODULES = (
    *("virtio_ring", "virtio", "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev"),
    *("virtio_pci", "virtio_blk"),
)
_FOLDER, _PROGRAM, _FILE = 0o40755, 0o100755, 0o100644  # modes: types and permissions
_INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /disk
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for module in {modules}; do $b insmod /modules/$module.ko 2>/dev/null; done
until [ -b /dev/vda ]; do $b sleep 1; done
$b mount -t ext4 -o ro /dev/vda /disk
$b mount -t proc proc /disk/proc; $b mount -t sysfs sys /disk/sys; $b mount -t devtmpfs dev /disk/dev
$b mount -t tmpfs tmp /disk/tmp
$b grep MemTotal /proc/meminfo
export PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1 HOME=/tmp
export PATH=/usr/bin:/bin
$b chroot /disk /usr/bin/python3.11 -m embedge info
$b chroot /disk /usr/bin/python3.11 /memory.py /bundle
$b dmesg | $b grep -i -E "oom|out of memory"
$b poweroff -f
"""


def write_initrd(kernel: Path, path: Path) -> None:
    """Write the initial RAM disk: BusyBox, the kernel's modules for the disk, and the program that Linux starts first.

    Args:
        kernel: the root that a kernel and BusyBox are unpacked in.
        path: the file to write.
    """
    modules = {name: next(kernel.rglob(f"{name}.ko")) for name in MODULES}
    entries = [("bin", _FOLDER, b""), ("modules", _FOLDER, b"")]
    entries += [(f"modules/{name}.ko", _FILE, file.read_bytes()) for name, file in modules.items()]
    entries += [("bin/busybox", _PROGRAM, next(kernel.glob("**/bin/busybox")).read_bytes())]
    entries += [("init", _PROGRAM, _INIT.format(modules=" ".join(MODULES)).encode()), ("TRAILER!!!", 0, b"")]
    path.write_bytes(b"".join(_entry(number, *entry) for number, entry in enumerate(entries, 1)))


def _entry(number: int, name: str, mode: int, data: bytes) -> bytes:
    """An entry of a cpio archive in the format newc (Linux: Documentation/driver-api/early-userspace/buffer-format)."""
    path = name.encode() + b"\0"
    numbers = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % value for value in numbers) + path
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
