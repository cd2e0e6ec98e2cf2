"""The `embedge` command. Commands are imported when they are typed, so that it starts fast."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from embedge.command.log import log_shown
from embedge.errors import EmbedgeError, escape
from embedge.progress import tell
from embedge.version import __version__

# Where each command lives. Those of the exporter are named here and imported by nothing else in the runtime.
_COMMANDS = {
    "demo": "embedge_export.command.commands:demo",
    "export": "embedge_export.command.commands:export",
    "embed": "embedge.command.embed:embed",
    "rerank": "embedge.command.rerank:rerank",
    "pull": "embedge.command.bundles:pull",
    "bundle": "embedge.command.bundles:bundle",
    "push": "embedge.command.bundles:push",
    "verify": "embedge_export.command.commands:verify",
    "models": "embedge_export.command.commands:models",
    "info": "embedge.command.info:info",
}
_stopped_by: list[int] = []  # signals
_AGAIN = 3.0  # seconds in which a command that was told to stop has cleaned up


class _Group(click.Group):
    """Looks commands up by name, and turns failures into one line on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _escaped():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _escaped(), log_shown():
                return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if _stopped_by:  # an extension that was being imported made an exception of its own of the exit
                sys.exit(128 + _stopped_by[0])
            if ctx.meta.get("debug") or isinstance(error, BrokenPipeError):
                raise
            # A warning is one where the user's python makes errors of warnings.
            expected = isinstance(error, EmbedgeError | OSError | MemoryError | Warning)
            hint = "" if expected else "; this is a bug, `--debug` shows where"
            raise click.ClickException(f"{_one_line(error)}{hint}") from error


@contextmanager
def _escaped() -> Iterator[None]:
    """What click says of words that were typed, in one line that any terminal can show, as our own errors are."""
    try:
        yield
    except click.ClickException as error:
        error.message = escape(error.message)  # type: ignore[misc]  # final to checkers; who raises it is click
        raise


def _debug_option() -> click.Option:
    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta["debug"] = True

    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=remember, help="Show the traceback of a failure."
    )


def _one_line(error: BaseException) -> str:
    text = escape(" ".join(str(error).split()))
    return text if isinstance(error, EmbedgeError) and text else f"{type(error).__name__}: {text}"


def _show_warning(message: Warning | str, *origin: Any, **more: Any) -> None:
    tell(f"warning: {message}")


def _stop(number: int, frame: object) -> None:
    """Exit; unlike the default that unwinds, so that temporary files go."""
    _stopped_by.append(number)
    if hasattr(signal, "setitimer"):  # what is raised inside a destructor or an import's callback is lost: then again
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    sys.exit(128 + _stopped_by[0])


@click.group(cls=_Group, params=[_debug_option()], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="embedge")
def cli() -> None:
    """BGE text embeddings at the edge.

    \b
    embedge demo                              see it work, on a model that it fetches and exports
    embedge export bge-small-en-v1.5          make a bundle, into the cache
    embedge embed "some text"                 its vector, as JSON
    embedge embed -i texts.txt -o vectors.npy
    embedge rerank "a question" -i texts.txt  texts by how well they answer it

    Every command has examples in its own --help.
    """


def _fill_streams() -> None:
    """A standard stream that was closed at the start is nothing, so that no file which is opened later takes its place.

    What a library in another language writes to stderr would go into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def main() -> None:
    """Entry point of the `embedge` command."""
    # Only a process of our own may set these. OpenBLAS's threads gain nothing here, and the last bit of what an export
    # computes depends on how many there are. ONNX Runtime's wheels report to Microsoft since 1.32, from a thread and
    # two files in the home folder.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    warnings.showwarning = _show_warning
    _fill_streams()
    # A path may have what the terminal's encoding lacks; stderr does so itself.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(cli())
