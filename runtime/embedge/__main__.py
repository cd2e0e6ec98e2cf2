"""``python -m embedge``: the `embedge` command where it is not on the PATH."""

from embedge.command.main import main

main()
