"""Commands that messages tell the user to type."""

import shlex


def python_line(code: str) -> str:
    """A command that runs one line of Python, quoted for a POSIX shell.

    A path in the line must be there as ``repr`` writes it: then quotes and spaces survive both the shell and Python.

    >>> python_line("print('a b')")
    '`python -c \\'print(\\'"\\'"\\'a b\\'"\\'"\\')\\'`'
    """
    return f"`python -c {shlex.quote(code)}`"
