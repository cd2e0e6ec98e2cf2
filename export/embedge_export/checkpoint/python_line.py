"""Commands that an error message tells the user to type."""

import shlex


def python_line(code: str) -> str:
    """Return a command, in backticks, that runs one line of Python; quoted for a POSIX shell.

    Insert a path into ``code`` by ``repr``: its quotes and spaces then survive both the shell and Python.

    >>> python_line("print('a b')")
    '`python -c \\'print(\\'"\\'"\\'a b\\'"\\'"\\')\\'`'
    """
    return f"`python -c {shlex.quote(code)}`"
