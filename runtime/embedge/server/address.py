"""Open the socket of a server: an address, or a Unix socket."""

from __future__ import annotations

import os
import socket
import stat
from ipaddress import ip_address
from pathlib import Path

from embedge.errors import InputValueError

_BACKLOG = 2048  # connections that wait to be accepted


def open_address(host: str, port: int, *, may_be_open: bool) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: a name or an IP address.
        port: 0 takes a free one.
        may_be_open: whether other machines may reach it.

    Raises:
        InputValueError: the address does not exist, or other machines could reach it and may not.
        OSError: the port is in use, or may not be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputValueError(f"there is no address {host}; pass --host 127.0.0.1") from error
    family, _, _, _, address = found[0]
    if not may_be_open and not _is_loopback(address[0]):
        raise InputValueError(
            f"{host} can be reached from other machines, and there is no API key; pass --api-key-file FILE, or "
            "--insecure-no-key if everybody may use the server"
        )
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it, an answer may take 40 ms more.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # on Windows, this would let another program take the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        if isinstance(error, PermissionError) or error.strerror:
            raise InputValueError(
                f"cannot listen at {host} port {port}: {error.strerror}; choose another with --port"
            ) from error
        raise
    return sock


def is_local(sock: socket.socket) -> bool:
    """Whether only this machine reaches a socket of an address."""
    return _is_loopback(sock.getsockname()[0])


def _is_loopback(address: object) -> bool:
    return ip_address(str(address).partition("%")[0]).is_loopback


def url_of(sock: socket.socket, host: str) -> str:
    """Return the URL of a socket, by the name that the user gave."""
    port = sock.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def open_unix_socket(path: Path) -> socket.socket:
    """Return a socket that listens at a path, which only this user may connect to.

    A socket that a server left behind is removed.

    Raises:
        InputValueError: there is something else, or a server listens there.
        OSError: the folder cannot be written.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise InputValueError("this platform has no Unix sockets; leave --unix-socket out")
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # from the first moment on, nobody else may connect
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise InputValueError(f"cannot listen at {path}: {error.strerror or error}; choose another path") from error
    finally:
        os.umask(mask)
    sock.listen(_BACKLOG)
    return sock


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise InputValueError(f"{path} exists and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise InputValueError(f"cannot connect to {path}: {error.strerror}; choose another path") from error
    raise InputValueError(f"a server listens at {path}; stop it, or choose another path")
