"""Small wheels that pip unpacks in place of the real ones, with the tags that these have. No index is needed."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# By package: the wheel's tag for a machine with Linux, as numpy 2.4, onnxruntime 1.32 and tokenizers 0.23 have them.
LINUX_TAGS = {
    "numpy": "cp313-cp313-manylinux_2_27_{machine}.manylinux_2_28_{machine}",
    "onnxruntime": "cp313-cp313-manylinux_2_27_{machine}.manylinux_2_28_{machine}",
    "tokenizers": "cp310-abi3-manylinux_2_17_{machine}.manylinux2014_{machine}",
}
FILES: Mapping[str, Sequence[str]] = {
    "numpy": ("__init__.py", "__init__.pyi", "tests/test_x.py", "f2py/x.py", "random/x.py", "random/LICENSE.md"),
    "onnxruntime": ("__init__.py", "LICENSE", "capi/libonnxruntime.so.1.32.0", "capi/pybind.so", "tools/x.py"),
    "tokenizers": ("__init__.py", "tokenizers.abi3.so"),
}
CONTENT = "x = 1  # some text\n" * 50


def write_wheel(folder: Path, package: str, tag: str, *, version: str = "99.0") -> None:
    """Write a wheel that has the package's ``FILES``, a licence and a script."""
    info = f"{package}-{version}.dist-info"
    written = {f"{package}/{name}": CONTENT for name in FILES[package]}
    written |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag.split('.')[0]}\n",
        f"{info}/licenses/LICENSE": "a licence",
        f"{info}/entry_points.txt": f"[console_scripts]\n{package}-tool = {package}:x\n",
    }
    record = "".join(f"{name},,\n" for name in (*written, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{package}-{version}-{tag}.whl", "w") as wheel:
        for name, text in {**written, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


def write_linux_wheels(folder: Path) -> None:
    """Write the three wheels for Linux on both processors, for Python 3.13."""
    for machine in ("x86_64", "aarch64"):
        for package, tag in LINUX_TAGS.items():
            write_wheel(folder, package, tag.format(machine=machine))
