"""What embedding never opens in the packages that it imports, and the deletion of it.

Licences and notices stay, because whoever ships the rest must ship them.
"""

import shutil
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

# The packages that a process imports if it gives a bundle's path to Embedder. Their other requirements are for the hub,
# for the `embedge` command and its progress bars, or for parts of onnxruntime that embedding does not use.
PACKAGES = ("numpy", "onnxruntime", "tokenizers")
IMPORTED = frozenset({"embedge", *PACKAGES})
# The files that embedding never opens, by package: patterns (* matches anything, / too), and what the files are for.
TRIM: Mapping[str, Mapping[str, str]] = {
    "embedge": {
        "embedge_*/*": "the exporter and its recipes, which make bundles",
    },
    "onnxruntime": {
        # The extension module links all of it statically, in the wheels for Linux, macOS and Windows, and so in the
        # builds for GPUs and OpenVINO, whose providers load only onnxruntime_providers_shared.
        "onnxruntime/capi/libonnxruntime.*": "the C API's library, for programs that are not Python",
        "onnxruntime/capi/onnxruntime.dll": "the C API's library, for programs that are not Python",
        "onnxruntime/transformers/*": "optimises graphs before they are shipped",
        "onnxruntime/quantization/*": "quantises graphs before they are shipped",
        "onnxruntime/tools/*": "converts graphs",
        "onnxruntime/backend/*": "for ONNX's own tests",
        "onnxruntime/datasets/*": "graphs of its examples",
    },
    "numpy": {
        "numpy/*tests/*": "its tests",
        "numpy/*core/_simd.*": "for its tests",
        "numpy/f2py/*": "wraps Fortran code",
        "numpy/distutils/*": "builds extensions",
        "*.pyi": "types, for checkers and editors",
    },
    "tokenizers": {"*.pyi": "types, for checkers and editors"},
}
# A program that uses OpenVINO on Windows calls it, to find OpenVINO's libraries. Only onnxruntime-openvino has it.
_KEPT = "onnxruntime/tools/add_openvino_win_libs.py"
# The parts of numpy that neither embedge nor onnxruntime imports. A program's own code may, so they go only where the
# output is for embedge's own handler. numpy 1 imports some of them at start; numpy 2 imports each when it is used.
_FOR_OWN_CODE = (
    "numpy/random/*",
    "numpy/fft/*",
    "numpy/ma/*",
    "numpy/polynomial/*",
    "numpy/testing/*",
    "numpy/typing/*",
    "numpy/ctypeslib/*",
    "numpy/doc/*",
    "numpy/_pyinstaller/*",
    "numpy/conftest.py",
    "numpy/matlib.py",
    "numpy/_core/include/*",
    "numpy/_core/lib/*",
    "numpy/_core/_*tests.*",
    "numpy/*.pxd",
    "numpy/linalg/lapack_lite.*",
)
LEFT_OUT = "numpy's random, fft, ma, polynomial, testing, ctypeslib and headers"


def find_trim(package: str, file: str) -> str | None:
    """The pattern in ``TRIM`` that matches a file of a package; None for a file that must stay.

    >>> find_trim("numpy", "numpy/fft/tests/test_helper.py")
    'numpy/*tests/*'
    """
    if file == _KEPT:
        return None
    return next((pattern for pattern in TRIM.get(package, ()) if fnmatchcase(file, pattern)), None)


def trim(packages: Path, *, whole_numpy: bool) -> bool:
    """Delete what embedding does not open from a folder into which pip has unpacked wheels.

    Args:
        packages: the folder. Nothing in it but these packages.
        whole_numpy: whether the parts of numpy stay that only a program's own code could import.

    Returns:
        Whether those parts of numpy were deleted. They stay if numpy is older than 2, which imports them at start.
    """
    cut = not whole_numpy and not any(packages.glob("numpy-[01].*.dist-info"))
    for path in [path for path in packages.rglob("*") if path.is_file()]:
        name = path.relative_to(packages).as_posix()
        package = name.partition("/")[0]
        if find_trim(package, name) or _is_installers(name) or (cut and _is_for_own_code(name)):
            path.unlink()
    for script in ("bin", "Scripts"):
        shutil.rmtree(packages / script, ignore_errors=True)
    _delete_empty(packages.rglob("*"))
    return cut


def _is_for_own_code(name: str) -> bool:
    return "LICENSE" not in name and any(fnmatchcase(name, pattern) for pattern in _FOR_OWN_CODE)


def _is_installers(name: str) -> bool:
    """Whether pip wrote a file for itself: its record of the files, which no longer holds, and how it installed."""
    folder, _, file = name.partition("/")
    return folder.endswith(".dist-info") and file in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def _delete_empty(paths: Iterable[Path]) -> None:
    for folder in sorted((path for path in paths if path.is_dir()), key=lambda path: -len(path.parts)):
        if not any(folder.iterdir()):
            folder.rmdir()
