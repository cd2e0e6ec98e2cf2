"""The `embedge` command. It imports only the module of the subcommand that the user typed, so that it starts fast."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Any

try:
    import click
except ModuleNotFoundError:  # as in a trimmed deployment, whose library works
    sys.exit("Error: the command needs click, which is not installed; run `pip install click`")

from embedge.command.log import log_shown
from embedge.command.shell_spelling import in_shell
from embedge.errors import EmbedgeError, MissingExtraError, escape
from embedge.progress import tell
from embedge.version import __version__

# The subcommands, in the order of `--help`. The list is static because a scan of entry points takes 34 ms, at every
# `--help` too; so the exporter's subcommands are named here, although nothing else in the runtime names the exporter.
COMMANDS = (
    "demo",
    "export",
    "embed",
    "rerank",
    "tokens",
    "serve",
    "pull",
    "bundle",
    "push",
    "ship",
    "verify",
    "models",
    "info",
)
_EXPORTERS = {
    "demo": "embedge_export.command.demo",
    "export": "embedge_export.command.export",
    "models": "embedge_export.command.models",
}
# What embedge requires beside click, and a deployment may have left out. Another module that is missing is our mistake.
_REQUIRED = ("huggingface_hub", "numpy", "onnxruntime", "packaging", "platformdirs", "tokenizers", "tqdm")
_stopped_by: list[int] = []  # the signals that stop this process
_AGAIN = 3.0  # seconds in which a stopped command cleans up, before it is stopped again


class _Group(click.Group):
    """Imports subcommands by name, and turns each failure into one line on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        has_exporter = find_spec("embedge_export") is not None
        return [name for name in COMMANDS if has_exporter or name not in _EXPORTERS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = _import_exporters(cmd_name) if cmd_name in _EXPORTERS else _import_own(cmd_name)
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        ctx.meta["command"] = command
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
            if _stopped_by:  # an extension that was being imported turned SystemExit into an exception of its own
                sys.exit(128 + _stopped_by[0])
            if ctx.meta.get("debug") or isinstance(error, BrokenPipeError):
                raise
            missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
            if missing in _REQUIRED:
                raise click.ClickException(f"{missing} is not installed; run `pip install {missing}`") from error
            # A Warning is raised where the user runs python with -W error.
            expected = isinstance(error, EmbedgeError | OSError | MemoryError | Warning)
            hint = "" if expected else "; this is a bug in embedge, run the command with --debug to see where"
            raise click.ClickException(f"{_one_line(error, ctx.meta.get('command'))}{hint}") from error


def _import_own(name: str) -> click.Command:
    """Import a subcommand of the runtime.

    Each import is written out, because Nuitka follows only what is written out.
    """
    match name:
        case "embed":
            from embedge.command.embed import embed as command
        case "rerank":
            from embedge.command.rerank import rerank as command
        case "tokens":
            from embedge.command.tokens import tokens as command
        case "serve":
            from embedge.command.serve import serve as command
        case "pull":
            from embedge.command.bundles import pull as command
        case "bundle":
            from embedge.command.bundles import bundle as command
        case "push":
            from embedge.command.bundles import push as command
        case "ship":
            from embedge.command.ship import ship as command
        case "verify":
            from embedge.command.verify import verify as command
        case "info":
            from embedge.command.info import info as command
    return command


def _import_exporters(name: str) -> click.Command:
    """Import a subcommand of the exporter, by a computed name: an app that is frozen must not bring the exporter."""
    module = _EXPORTERS[name]
    package = module.partition(".")[0]
    if find_spec(package) is None:  # deleted, as docs/ship.md says; pip still takes it for installed
        command_line = "pip install --force-reinstall 'embedge[export]'"
        raise MissingExtraError(f"{package} is not installed; run `{command_line}`")
    command: click.Command = getattr(import_module(module), name)
    return command


@contextmanager
def _escaped() -> Iterator[None]:
    """Escape the messages of click's errors, which quote what the user typed, as embedge's own errors are escaped."""
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
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of a failure.",
    )


def _one_line(error: BaseException, command: click.Command | None) -> str:
    text = escape(" ".join(str(error).split()))
    if not isinstance(error, EmbedgeError) or not text:
        return f"{type(error).__name__}: {text}"
    return in_shell(text, command) if command else text  # none if its module cannot be imported


def _show_warning(message: Warning | str, *origin: Any, **more: Any) -> None:
    tell(f"warning: {message}")


def _stop(number: int, frame: object) -> None:
    """Exit by an exception, unlike the default of the signal, so that temporary files are removed."""
    _stopped_by.append(number)
    if hasattr(signal, "setitimer"):  # Python drops exceptions in destructors and import callbacks: repeat
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    sys.exit(128 + _stopped_by[0])


@click.group(cls=_Group, params=[_debug_option()], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="embedge")
def cli() -> None:
    """Create text embeddings and rerank texts on a CPU, without PyTorch.

    \b
    Examples:
      embedge demo                               download a small model and try it
      embedge export bge-small-en-v1.5           export a model to a bundle in the cache
      embedge embed "some text"                  print the vector of a text as JSON
      embedge embed -i texts.txt -o vectors.npy  write the vectors of a file's lines
      embedge rerank "a question" -i texts.txt   sort texts by relevance to a question

    Run `embedge COMMAND --help` for a command's options and examples.
    """


def _fill_streams() -> None:
    """Connect each standard stream that is closed to the null device, so that no file gets its number later.

    Otherwise what a library in another language writes to stderr would go into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def main() -> None:
    """Run the `embedge` command."""
    # This process is our own, so it may set what the library does not. OpenBLAS's threads are of no use here, and the
    # last bit of an export's numbers depends on how many there are. onnxruntime_import turns off ONNX Runtime's
    # telemetry, too, but other packages of an export may import onnxruntime before it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    warnings.showwarning = _show_warning
    _fill_streams()
    # A path may have characters that the terminal's encoding lacks. stderr escapes them by default.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(cli())
