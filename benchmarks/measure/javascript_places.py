"""Places that run JavaScript: node, and a page in Chromium, with the scripts and packages of tests/javascript."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure.place import CannotRunError, Place, plain_environment, size_of
from benchmarks.measure.process_start import QUERY, Measured, Run, StartError, time_program

FOLDER = Path(__file__).parents[2] / "tests" / "javascript"
_INSTALL = "npm ci --ignore-scripts --prefix tests/javascript"
_TRANSFORMERS = "@huggingface/transformers"
_POOLING = {"mean": "mean", "cls": "cls", "last": "last_token"}  # docs/javascript.md
_WAIT = 120  # seconds for Chromium


def node(bundle: Path, work: Path) -> Place:
    """transformers.js in node, with onnxruntime-node."""
    _check_packages()
    everything = sum(
        size_of(FOLDER / path) for path in dependencies(_lock(), _TRANSFORMERS) if (FOLDER / path).is_dir()
    )
    elsewhere = _not_loaded_in_node()
    return Place(
        sizes={
            "of the bundle": size_of(bundle),
            "with the packages for this system": size_of(bundle) + everything - elsewhere,
            "with all packages of npm": size_of(bundle) + everything,
        },
        start=lambda: _time_node("in_node.mjs", bundle, work, load={}),
        notes=("sizes are without node",),
    )


def web_assembly(bundle: Path, work: Path) -> Place:
    """onnxruntime-web's WebAssembly in node: what a browser runs, without the browser."""
    _check_packages()
    return Place(
        sizes={"of the bundle": size_of(bundle)},
        start=lambda: _time_node("in_wasm.mjs", bundle, work, graph=_graph(bundle).name),
        notes=("another build of onnxruntime-web than a page's",),
    )


def chromium(bundle: Path, work: Path) -> Place:
    """A page in headless Chromium. The sizes are those of the files that its first load fetches, uncompressed."""
    _check_packages()
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise CannotRunError("@sparticuz/chromium is for Linux on x86-64")
    try:
        served = _run_chromium(bundle, work)["served"]
    except StartError as error:
        raise CannotRunError(str(error)) from error
    of_bundle = sum(size for path, size in served.items() if path.startswith("/bundle/"))
    return Place(
        sizes={"fetched by the page": sum(served.values()), "of it from the bundle": of_bundle},
        start=lambda: _time_chromium(bundle, work),
        notes=("from the start of the page's load, by loopback; memory of the page's process",),
    )


def dependencies(lock: Mapping[str, Any], name: str) -> set[str]:
    """The folders of a package and of all that it depends on, in a package-lock.json of version 3."""
    packages = lock["packages"]
    found: set[str] = set()
    waiting = [f"node_modules/{name}"]
    while waiting:
        folder = waiting.pop()
        if folder in found:
            continue
        found.add(folder)
        wanted = {**packages[folder].get("dependencies", {}), **packages[folder].get("optionalDependencies", {})}
        waiting += [path for one in wanted if (path := _resolve(packages, folder, one))]
    return found


def _resolve(packages: Mapping[str, Any], folder: str, name: str) -> str | None:
    """The folder where node finds a package that is required in ``folder``: there, or further out."""
    while True:
        path = f"{folder}/node_modules/{name}".lstrip("/")
        if path in packages:
            return path
        if not folder:
            return None
        folder = folder.rpartition("node_modules/")[0].rstrip("/")


def _not_loaded_in_node() -> int:
    """The bytes of onnxruntime-web, and of onnxruntime-node's libraries for other systems and processors."""
    names = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64"}
    here = f"{sys.platform}/{names.get(platform.machine(), platform.machine())}"
    modules = FOLDER / "node_modules"
    libraries = [
        path for path in modules.glob("onnxruntime-node/bin/napi-v*/*/*") if not path.as_posix().endswith(here)
    ]
    return size_of(modules / "onnxruntime-web") + sum(map(size_of, libraries))


def _lock() -> dict[str, Any]:
    lock: dict[str, Any] = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    return lock


def _check_packages() -> None:
    if shutil.which("node") is None:
        raise CannotRunError("needs node and npm")
    if not (FOLDER / "node_modules" / _TRANSFORMERS).is_dir():
        raise CannotRunError(f"needs the packages of tests/javascript: {_INSTALL}")


def _graph(bundle: Path) -> Path:
    return next((bundle / "onnx").glob("*.onnx"))


def _job(bundle: Path, **own: Any) -> str:
    """What the scripts of tests/javascript read."""
    manifest = json.loads((bundle / "embedge.json").read_text(encoding="utf-8"))
    options = {"pooling": _POOLING[manifest["pooling"]], "normalize": manifest["normalize"]}
    return json.dumps({"bundle": str(bundle), "texts": [QUERY["query"]], "options": options, **own})


def _time_node(script: str, bundle: Path, work: Path, **own: Any) -> Measured:
    return time_program(["node", str(FOLDER / script)], plain_environment(work), text=_job(bundle, **own))[0]


def _run_chromium(bundle: Path, work: Path) -> dict[str, Any]:
    command = ["node", str(FOLDER / "in_chromium.mjs")]
    done = subprocess.run(
        command,
        input=_job(bundle, load={}),
        env=plain_environment(work),
        capture_output=True,
        encoding="utf-8",
        timeout=_WAIT,
        check=False,
    )
    if done.returncode:
        raise StartError(f"Chromium failed: {next(_told(done.stderr), 'no output')}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _told(errors: str) -> Iterator[str]:
    """The lines that name an error."""
    return (line.strip() for line in errors.splitlines() if "rror" in line)


def _time_chromium(bundle: Path, work: Path) -> Run:
    found = _run_chromium(bundle, work)
    if found["memory"] is None:
        raise StartError("Chromium's process for the page was not found in /proc")
    return Run(found["milliseconds"], found["memory"])
