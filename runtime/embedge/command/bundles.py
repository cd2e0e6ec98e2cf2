"""Commands that move bundles: `embedge pull`, `embedge bundle` and `embedge push`."""

import sys
from pathlib import Path

import click

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import CLASSES, PRECISIONS, Precision
from embedge.errors import escape
from embedge.hub.cache import open_held
from embedge.hub.client import is_offline
from embedge.hub.obtain import pull as bring_model
from embedge.progress import is_terminal, tell


def _describe(bundle: Bundle) -> str:
    """Where it is, what it holds and how big that is."""
    files = bundle.manifest.files
    size = sum(record.size for record in files.values())
    held = " + ".join(name for name in PRECISIONS if name in bundle.manifest.precisions)
    return escape(f"{bundle.path}: {held}, {len(files) + 1} files, {size / 1e6:.1f} MB")


@click.command()
@click.argument("model")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    show_default="what Embedder takes: int8, else what there is",
    help="May be given several times.",
)
@click.option(
    "--revision", metavar="REV", help="Branch, tag or commit of a hub id that holds a bundle; replaces another's."
)
def pull(model: str, precisions: tuple[Precision, ...], revision: str | None) -> None:
    """Bring a model into the cache, so that Embedder needs no network.

    MODEL is a recipe's name or a hub id. A bundle that the hub holds is downloaded: of its graphs only the precisions
    that are asked for. Any other checkpoint is downloaded and exported, where the export extra is installed. What is in
    the cache is checked, and only what it lacks or what is damaged is brought, of the commit that is there; with
    --revision, of that one.

    \b
    embedge pull bge-small-en-v1.5
    embedge pull my-organisation/my-bundle --precision int8 --precision fp32
    embedge pull my-organisation/my-bundle --revision v2
    RUN embedge pull my-organisation/my-bundle      # in a Dockerfile: the image starts without the network
    """
    bundle = bring_model(model, precisions=precisions or None, revision=revision)
    click.echo(_describe(bundle))


@click.command()
@click.argument("model")
@click.option(
    "-o", "--output", required=True, metavar="DIR", help="A new directory, or one with the same model's bundle."
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    show_default="all that the bundle holds",
    help="May be given several times.",
)
def bundle(model: str, output: str, precisions: tuple[Precision, ...]) -> None:
    """Copy a bundle out, for a machine without a network.

    MODEL is a bundle's path, a recipe's name or a hub id; what is not in the cache yet is brought there first, as by
    `embedge pull`. Every file is checked on the way. The copy is real files only, so a stick or an image can carry it;
    where it arrives, give its path.

    \b
    embedge bundle bge-small-en-v1.5 -o /media/stick/bge-small
    embedge bundle ./my-bundle -o ./my-bundle-int8 --precision int8
    embedge embed -m /media/stick/bge-small "some text"       # over there
    """
    from embedge.bundle.copy import copy_bundle

    source = bring_model(model, precisions=precisions or None)
    copy = copy_bundle(source, Path(output), precisions=precisions or None)
    click.echo(_describe(copy))


@click.command()
@click.argument("bundle")
@click.argument("repository")
@click.option("--private", is_flag=True, help="Make the repository private, if it is made now.")
@click.option("--revision", metavar="BRANCH", help="Push to this branch, made if it is not there; main without it.")
@click.option("-m", "--message", help="Of the commit.")
def push(bundle: str, repository: str, private: bool, revision: str | None, message: str | None) -> None:
    """Upload a bundle to the hub, where `Embedder("organisation/name")` finds it.

    BUNDLE is a path, or a name in the cache; REPOSITORY is organisation/name on the hub, and is made if it is not
    there. The bundle's files are checked, then uploaded in one commit, with a README.md where there is none yet. The
    token is HF_TOKEN or that of `hf auth login`, and must be one that may write.

    \b
    embedge push ./my-bundle my-organisation/my-bundle --private
    embedge push bge-small-en-v1.5 my-organisation/bge-small-en-v1.5-embedge
    """
    from embedge.hub.push import push_bundle

    opened = open_held(bundle)
    if not is_offline() and not is_terminal(sys.stderr):
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()
    url = push_bundle(opened, repository, private=private, revision=revision, message=message)
    click.echo(escape(url))
    if not revision:
        tell(f'{CLASSES[opened.manifest.task]}("{repository}") loads it.')
