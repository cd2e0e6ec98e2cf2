"""Run the `embedge` command in this process."""

from inspect import signature

from click.testing import CliRunner


def runner() -> CliRunner:
    """A runner that separates stdout and stderr; since 8.2, click always does."""
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**apart)  # type: ignore[arg-type]  # an option of older versions
