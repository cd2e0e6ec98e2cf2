"""`embedge info`: versions and system for a bug report, or the size of a deployment."""

from pathlib import Path

import click

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import PRECISIONS
from embedge.errors import EmbedgeError, escape


def _why_unreadable(cache: Path) -> str:
    """Return what to show after the path of a cache that cannot be listed; else an empty string."""
    try:
        any((cache / "bundles").iterdir())
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f" (cannot be read: {error.strerror or error})"
    return ""


def _cache_lines() -> dict[str, str]:
    """The cache's directory, and each bundle in it."""
    from embedge.bundle.cache_paths import cache_home
    from embedge.hub.cache import cached_bundles

    try:
        home = cache_home()
    except EmbedgeError as error:  # a bug report needs this error, too
        return {"cache": f"none: {error}"}
    bundles = {f"  {bundle.path.name}": _describe(bundle) for bundle in cached_bundles()}
    return {"cache": f"{home}{_why_unreadable(home)}", **bundles}


@click.command()
@click.option("--footprint", is_flag=True, help="Print the size of the installed packages and bundles instead.")
@click.option(
    "-m", "--model", help="With --footprint: name or path of the bundle to measure. Default: all cached bundles."
)
@click.option("--json", "as_json", is_flag=True, help="With --footprint: print JSON, with sizes in bytes.")
def info(footprint: bool, model: str | None, as_json: bool) -> None:
    """Print versions and system information for a bug report.

    The output has the versions of embedge, Python and the packages that it needs, the processor's int8 instructions,
    the cores, the ONNX Runtime providers, the kernels of embedge-kernels and the instruction set that they use, the
    NVIDIA cards, and the bundles in the cache. With --footprint it shows instead the size of each package and bundle
    that you deploy, and which files you can delete.

    \b
    Examples:
      embedge info
      embedge info --footprint -m bge-small-en-v1.5
    """
    if footprint:
        _footprint(model, as_json)
    elif model or as_json:
        raise click.UsageError(f"{'--model' if model else '--json'} needs --footprint; give that too")
    else:
        _info()


def _footprint(model: str | None, as_json: bool) -> None:
    from embedge.command.footprint import measure
    from embedge.command.footprint_table import table

    footprint = measure(model)
    click.echo(footprint.to_json() if as_json else "\n".join(map(escape, table(footprint).split("\n"))))


def _describe(bundle: Bundle) -> str:
    """The precisions of a bundle, and its outputs beside vectors or scores."""
    manifest = bundle.manifest
    more = {"lexical weights": manifest.sparse, "multi-vectors": manifest.multi_vector}
    outputs = [name for name, has_it in more.items() if has_it]
    names = sorted(manifest.precisions)
    fused = [name for name in PRECISIONS if name in manifest.precisions and bundle.fused_graph(name)]
    accepted = [name for name, record in manifest.precisions.items() if record.below_floor]
    notes: dict[str, list[str]] = {"fused graph too": [*fused], "below its quality floor, accepted": accepted}
    precisions = [_with_notes(name, [note for note, names in notes.items() if name in names]) for name in names]
    return ", ".join(precisions) + (f" (also: {', '.join(outputs)})" if outputs else "")


def _with_notes(name: str, notes: list[str]) -> str:
    return f"{name} ({', '.join(notes)})" if notes else name


def _info() -> None:
    rows = {**_versions(), **_machine(), **_onnxruntime_rows(), **_kernel_rows(), **_card_rows(), **_cache_lines()}
    shown = {escape(name): escape(value) for name, value in rows.items()}
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {value}")


def _installed(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _versions() -> dict[str, str]:
    import platform

    from embedge.inference.device.onnxruntime_packages import installed_packages
    from embedge.version import __version__

    builds = {package.name: package.version for package in installed_packages()}
    packages = ("tokenizers", "numpy", "huggingface_hub", "onnx", "optimum-onnx", "torch")
    return {
        "embedge": f"{__version__} ({Path(__file__).parent.parent})",
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        "system": platform.platform(),
        **(builds or {"onnxruntime": "not installed"}),
        **{package: _installed(package) for package in packages},
    }


def _machine() -> dict[str, str]:
    """The processor, and the cores that the process may use."""
    import platform

    from embedge.inference import cpu

    features, quota = cpu.features(), cpu.cgroup_quota()
    instructions = "int8 instructions unknown" if features is None else ", ".join(features) or "no int8 instructions"
    return {
        "processor": f"{platform.machine()}, {instructions}",
        "cores": f"{cpu.usable_cores()} usable" + (f" (cgroup quota {quota:g})" if quota is not None else ""),
    }


def _onnxruntime_rows() -> dict[str, str]:
    """The providers, and what is wrong with the packages that provide onnxruntime."""
    from embedge.inference.device.onnxruntime_packages import available_providers, installed_packages, several

    try:
        rows = {"providers": ", ".join(available_providers())}
    except (EmbedgeError, ImportError) as error:  # a bug report needs this error, too
        return {"providers": f"none: {error}"}
    conflict = several(installed_packages())
    return {**rows, "conflict": conflict} if conflict else rows


def _kernel_rows() -> dict[str, str]:
    """The kernel library, the instruction sets that it can use here, and the variables that change what it does."""
    import os

    from embedge.inference.kernels import INSTALL, PACKAGE, VARIABLE, VARIABLE_OF_SET, KernelsError, installed_kernels

    variables = {name: os.environ[name] for name in (VARIABLE, VARIABLE_OF_SET) if name in os.environ}
    try:
        if not (kernels := installed_kernels()):
            return {PACKAGE: f"not installed (`{INSTALL}`)", **variables}
        used, every = kernels.instruction_set(), ", ".join(kernels.instruction_sets())
    except KernelsError as error:  # a bug report needs this error, too
        return {PACKAGE: str(error), **variables}
    return {PACKAGE: f"{kernels.version}, uses {used} (this processor can run {every})", **variables}


def _card_rows() -> dict[str, str]:
    """The NVIDIA cards, and the CUDA that onnxruntime was built for."""
    import os

    from embedge.command.graphics_card import find_cards, too_old

    cards, note = find_cards()
    rows = {f"gpu {card.index}": str(card) for card in cards}
    if note:
        rows["gpu"] = note
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        rows["CUDA_VISIBLE_DEVICES"] = visible or "empty: it hides every card"
    if cuda := _cuda_of_the_build():
        rows["cuda"] = f"{cuda} in this onnxruntime, {_cuda_libraries(cuda)}"
        if cards and (old := too_old(cards[0].driver, cuda)):
            rows["driver"] = old
    return rows


def _cuda_of_the_build() -> str | None:
    """The version of CUDA that onnxruntime was built for; None for a build without CUDA."""
    from importlib import import_module

    try:  # the module is not documented, and other builds than Microsoft's may lack it
        version = getattr(import_module("onnxruntime.capi.build_and_package_info"), "cuda_version", None)
    except ImportError:
        return None
    return str(version) if version else None


def _cuda_libraries(cuda: str) -> str:
    """The two largest of NVIDIA's libraries, if pip installed them. A system's own are not looked for."""
    major = cuda.partition(".")[0]
    # Since CUDA 13, the packages have no such ending; cuDNN's keeps it.
    names = (f"nvidia-cublas-cu{major}" if major in ("11", "12") else "nvidia-cublas", f"nvidia-cudnn-cu{major}")
    found = [f"{name} {_installed(name)}" for name in names]
    return ", ".join(found).replace(" not installed", " not installed by pip")
