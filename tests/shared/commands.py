"""The command, run in this process."""

from inspect import signature

from click.testing import CliRunner


def runner() -> CliRunner:
    """Keeps stdout and stderr apart, which click does of its own accord since 8.2."""
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**apart)  # type: ignore[arg-type]  # of older versions
