"""The options in an error as the shell has them: ``--device cuda`` for the ``device='cuda'`` of Python."""

import re

import click


def in_shell(message: str, command: click.Command) -> str:
    """Return an error's message in which the options of the command are as its user types them.

    >>> embed = click.Command("embed", params=[click.Option(["--device"]), click.Option(["--truncate-dim"])])
    >>> in_shell("there is no card 7, found only card 0; pass device='cuda' for the first one", embed)
    'there is no card 7, found only card 0; pass --device cuda for the first one'
    >>> in_shell("truncate_dim must be between 1 and 384, found 999", embed)
    '--truncate-dim must be between 1 and 384, found 999'
    """
    from embedge.inference.providers import ON_CPU  # here, because every start of the command imports this module

    options = {str(one.name): max(one.opts, key=len) for one in command.params if isinstance(one, click.Option)}
    for name, option in options.items():
        message = re.sub(rf"\b{name}=(['\"])([\w:]+)\1", rf"{option} \2", message)
        message = re.sub(rf"^{name} must be ", f"{option} must be ", message)
    return message.replace(ON_CPU, "remove --device to run on the CPU") if "device" in options else message
