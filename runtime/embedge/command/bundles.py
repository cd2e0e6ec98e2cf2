"""The commands that move bundles: `embedge pull`, `embedge bundle` and `embedge push`."""

from pathlib import Path

import click

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import CLASSES, PRECISIONS, Precision
from embedge.command.options import precisions_option
from embedge.errors import escape
from embedge.progress import tell


def _describe(bundle: Bundle) -> str:
    """A bundle's path, precisions, number of files and size, in one line."""
    precisions = " + ".join(name for name in PRECISIONS if name in bundle.manifest.precisions)
    return escape(
        f"{bundle.path}: {precisions}, {len(bundle.manifest.files) + 1} files, {bundle.manifest.size / 1e6:.1f} MB"
    )


@click.command()
@click.argument("model")
@precisions_option("int8 if available")
@click.option(
    "--revision",
    metavar="REV",
    help="Branch, tag or commit on the hub. Replaces the cached bundle of another revision.",
)
def pull(model: str, precisions: tuple[Precision, ...], revision: str | None) -> None:
    """Download a model to the cache, so that Embedder needs no network.

    MODEL is a recipe's name (see `embedge models`) or a Hugging Face Hub id. If the hub has a bundle of it, the command
    downloads that, with only the precisions that you ask for. Otherwise it downloads the checkpoint and exports it;
    this needs `pip install 'embedge[export]'`.

    If the model is in the cache already, the command checks its files and obtains only those that are missing or
    damaged. It uses the commit that is in the cache, or the one that you give with --revision.

    \b
    Examples:
      embedge pull bge-small-en-v1.5
      embedge pull my-organisation/my-bundle --precision int8 --precision fp32
      embedge pull my-organisation/my-bundle --revision v2
      RUN embedge pull my-organisation/my-bundle      # in a Dockerfile: the image needs no network at run time
    """
    from embedge.hub.pull import pull as pull_bundle

    click.echo(_describe(pull_bundle(model, precisions=precisions or None, revision=revision)))


@click.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    help="Output directory: a new one, or one that holds a bundle of the same model.",
)
@precisions_option("all that the bundle has")
def bundle(model: str, output: str, precisions: tuple[Precision, ...]) -> None:
    """Copy a bundle to a directory, for a machine without a network.

    MODEL is a recipe's name, a Hugging Face Hub id, or the path of a bundle. If the model is not in
    the cache, the command downloads it there first, like `embedge pull`. It checks every file while it copies. The copy
    has no links, so you can put it on a USB stick or into a container image. On the other machine, give its path to
    Embedder.

    \b
    Examples:
      embedge bundle bge-small-en-v1.5 -o /media/stick/bge-small
      embedge bundle ./my-bundle -o ./my-bundle-int8 --precision int8
      embedge embed -m /media/stick/bge-small "some text"       # on the other machine
    """
    from embedge.bundle.copy import copy_bundle
    from embedge.hub.pull import pull as pull_bundle

    source = pull_bundle(model, precisions=precisions or None)
    copy = copy_bundle(source, Path(output), precisions=precisions or None)
    click.echo(_describe(copy))


@click.command()
@click.argument("bundle")
@click.argument("repository")
@click.option("--private", is_flag=True, help="Make the repository private if the command creates it.")
@click.option("--revision", metavar="BRANCH", help="Branch to push to, created if it does not exist. Default: main.")
@click.option("-m", "--message", help="Message of the commit.")
def push(bundle: str, repository: str, private: bool, revision: str | None, message: str | None) -> None:
    """Upload a bundle to the Hugging Face Hub.

    BUNDLE is a path, or the name of a bundle in the cache. REPOSITORY is organisation/name on the hub; the command
    creates it if it does not exist. The bundle's files are checked, then uploaded in one commit, with a README.md if
    the repository has none. Then `Embedder("organisation/name")` loads the bundle on any machine.

    You need a token that may write: set HF_TOKEN, or run `hf auth login`.

    \b
    Examples:
      embedge push ./my-bundle my-organisation/my-bundle --private
      embedge push bge-small-en-v1.5 my-organisation/bge-small-en-v1.5-embedge
    """
    from embedge.hub.cache import open_local
    from embedge.hub.push import push as push_bundle

    opened = open_local(bundle)
    url = push_bundle(opened, repository, private=private, revision=revision, message=message)
    click.echo(escape(url))
    if not revision:
        tell(f'{CLASSES[opened.manifest.task]}("{repository}") loads it.')
