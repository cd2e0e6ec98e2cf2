"""The installed packages that a package requires, and their files, by the metadata that pip installs."""

from collections import deque
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from embedge.errors import EmbedgeError
from embedge.inference.device.onnxruntime_packages import installed_packages

_RUNTIME = Path(__file__).parent.parent


def find_packages(root: str) -> tuple[dict[str, Distribution], tuple[str, ...]]:
    """Return a distribution and its requirements by normalised name, and the names of those that are not installed."""
    found: dict[str, Distribution] = {}
    missing: dict[str, None] = {}
    waiting = deque([(root, "")])  # names, each with an extra
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = pair = waiting.popleft()
        if pair in seen:
            continue
        seen.add(pair)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            builds = installed_packages() if name == "onnxruntime" else ()
            waiting += [(build.name, "") for build in builds]  # onnxruntime-gpu, for one, takes its place
            if not builds:
                missing[name] = None
            continue
        for requirement in map(Requirement, found[name].requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return found, tuple(missing)


def installed_files(found: Distribution) -> dict[str, Path]:
    """Return the files of a distribution by their path in site-packages, without ``__pycache__``.

    Raises:
        EmbedgeError: the distribution was installed without a record of its files.
    """
    if found.files is None:
        name = found.metadata["Name"]
        raise EmbedgeError(f"{name} has no record of its files; run `pip install --force-reinstall {name}`")
    files = {file.as_posix(): Path(str(file.locate())) for file in found.files}
    is_editable = "embedge/__init__.py" not in files
    if is_editable and canonicalize_name(found.metadata["Name"]) == "embedge":
        files |= {f"embedge/{file.relative_to(_RUNTIME).as_posix()}": file for file in _RUNTIME.rglob("*")}
    return {name: file for name, file in files.items() if file.suffix != ".pyc" and file.is_file()}
