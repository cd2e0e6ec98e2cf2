"""`embedge info`: what a bug report needs, and what a deployment ships."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedge.bundle.manifest import Manifest
from embedge.errors import EmbedgeError, escape

if TYPE_CHECKING:
    pass


def _unreadable(cache: Path) -> str:
    try:
        any((cache / "bundles").iterdir())
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f" (cannot be read: {error.strerror or error})"
    return ""


def _cache_lines() -> dict[str, str]:
    """The cache, and what is in it."""
    from embedge.bundle.cache_paths import cache_home
    from embedge.hub.cache import cached_bundles

    try:
        home = cache_home()
    except EmbedgeError as error:  # a report tells that, too
        return {"cache": f"none: {error}"}
    held = {f"  {bundle.path.name}": _describe(bundle.manifest) for bundle in cached_bundles()}
    return {"cache": f"{home}{_unreadable(home)}", **held}


@click.command()
@click.option("--footprint", is_flag=True, help="What a deployment ships instead: packages and bundles, in bytes.")
@click.option("-m", "--model", help="With --footprint: of that cached bundle or path; all cached ones without it.")
@click.option("--json", "as_json", is_flag=True, help="With --footprint: as JSON.")
def info(footprint: bool, model: str | None, as_json: bool) -> None:
    """Print what a bug report needs: versions, processor, cores, providers, cache.

    \b
    embedge info
    embedge info --footprint -m bge-small-en-v1.5
    """
    if footprint:
        _footprint(model, as_json)
    elif model or as_json:
        raise click.UsageError(f"{'--model' if model else '--json'} is for --footprint; give that too")
    else:
        _info()


def _footprint(model: str | None, as_json: bool) -> None:
    from embedge.command.footprint import measure
    from embedge.command.footprint_table import table

    found = measure(model)
    click.echo(found.to_json() if as_json else "\n".join(map(escape, table(found).split("\n"))))


def _describe(manifest: Manifest) -> str:
    """The precisions of a bundle, and what it gives beside vectors or scores."""
    beside = {"lexical weights": manifest.sparse, "multi-vectors": manifest.multi_vector}
    given = [name for name, held in beside.items() if held]
    return ", ".join(sorted(manifest.precisions)) + (f"; gives {' and '.join(given)}, too" if given else "")


def _info() -> None:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from embedge.inference import cpu
    from embedge.version import __version__

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    import onnxruntime

    features = cpu.features()
    quota = cpu.cgroup_quota()
    lines = {
        "embedge": f"{__version__} ({Path(__file__).parent.parent})",
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        "system": platform.platform(),
    }
    packages = ("onnxruntime", "tokenizers", "numpy", "huggingface_hub", "onnx", "optimum-onnx", "torch")
    lines |= {package: installed(package) for package in packages}
    lines |= {
        "processor": f"{platform.machine()}, {', '.join(features) or 'none of the int8 features'}"
        if features is not None
        else f"{platform.machine()}, features unknown",
        "cores": f"{cpu.usable_cores()} usable" + (f" (cgroup quota {quota:g})" if quota is not None else ""),
        "providers": ", ".join(onnxruntime.get_available_providers()),
        **_cache_lines(),
    }
    shown = {escape(name): escape(value) for name, value in lines.items()}
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {value}")
