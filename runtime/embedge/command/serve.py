"""`embedge serve`: an HTTP server that existing clients can call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedge.bundle.manifest import Precision
from embedge.command.options import device_option, local_files_only_option, precision_option, threads_option
from embedge.errors import MissingExtraError
from embedge.server.address import is_local, open_address, open_unix_socket, url_of
from embedge.server.keys import Keys, read_keys
from embedge.server.limits import Limits
from embedge.server.origin import check_hosts, check_origins
from embedge.server.start import Settings
from embedge.server.start import serve as run_server
from embedge.server.supervisor import supervise

if TYPE_CHECKING:
    from embedge.server.served import Models

_DEFAULT = Limits()


@click.command()
@click.argument("model", nargs=-1)
@click.option("--reranker", multiple=True, metavar="MODEL", help="A reranker to serve. You can repeat this option.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--unix-socket", type=click.Path(path_type=Path), metavar="PATH", help="Listen at a Unix socket instead.")
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File with one API key in each line. Requests need one of them.",
)
@click.option("--insecure-no-key", is_flag=True, help="Let other machines use the server without an API key.")
@click.option("--allowed-host", multiple=True, metavar="NAME",
              help="A further host name that requests may use, or '*'. You can repeat this option.")  # fmt: skip
@click.option("--cors-origin", multiple=True, metavar="ORIGIN",
              help="A web origin whose pages may use the server, or '*'. You can repeat this option.")  # fmt: skip
@click.option(
    "--auto-truncate/--no-auto-truncate",
    default=None,
    help="Whether to truncate texts that are too long if a request does not say. Default: as each API does.",
)
@click.option("--max-body-bytes", type=click.IntRange(min=1), default=_DEFAULT.body_bytes, show_default=True,
              metavar="N", help="Largest body of a request.")  # fmt: skip
@click.option("--max-texts", type=click.IntRange(min=1), default=_DEFAULT.texts, show_default=True, metavar="N",
              help="Largest number of texts in a request.")  # fmt: skip
@click.option("--max-characters", type=click.IntRange(min=1), default=_DEFAULT.characters, show_default=True,
              metavar="N", help="Characters of a text that are read; more count as truncated.")  # fmt: skip
@click.option("--max-waiting-texts", type=click.IntRange(min=1), default=_DEFAULT.waiting_texts, show_default=True,
              metavar="N", help="Texts that wait for a core; requests beyond it get 429.")  # fmt: skip
@click.option("--max-waiting-tokens", type=click.IntRange(min=1), default=_DEFAULT.waiting_tokens, show_default=True,
              metavar="N", help="Tokens of these texts.")  # fmt: skip
@click.option("--request-seconds", type=click.FloatRange(min=0, min_open=True), default=_DEFAULT.request_seconds,
              show_default=True, metavar="S", help="Longest time for an answer.")  # fmt: skip
@click.option("--shutdown-seconds", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
              metavar="S", help="Time to finish requests after SIGTERM.")  # fmt: skip
@click.option("--access-log", is_flag=True, help="Write a line on stderr for each request. Texts are never logged.")
@precision_option
@device_option
@threads_option
@local_files_only_option
def serve(
    model: tuple[str, ...],
    reranker: tuple[str, ...],
    host: str,
    port: int,
    unix_socket: Path | None,
    api_key_file: Path | None,
    insecure_no_key: bool,
    allowed_host: tuple[str, ...],
    cors_origin: tuple[str, ...],
    auto_truncate: bool | None,
    max_body_bytes: int,
    max_texts: int,
    max_characters: int,
    max_waiting_texts: int,
    max_waiting_tokens: int,
    request_seconds: float,
    shutdown_seconds: float,
    access_log: bool,
    precision: Precision | None,
    device: str,
    threads: int | None,
    local_files_only: bool,
) -> None:
    """Serve models over HTTP, for the clients of OpenAI, text-embeddings-inference, Ollama and Cohere.

    MODEL is an embedder; you can give several. A request that names no model gets the first one. No request gets the
    query prompt unless it asks for it.

    \b
    Examples:
      embedge serve bge-small-en-v1.5
      embedge serve bge-small-en-v1.5 --reranker bge-reranker-base --port 9000
      embedge serve bge-m3 --host 0.0.0.0 --api-key-file keys.txt
    """
    if not model and not reranker:
        raise click.UsageError("no model; give one, such as `embedge serve bge-small-en-v1.5`")
    _check_installed()
    hosts, origins = check_hosts(allowed_host), check_origins(cors_origin)
    keys = read_keys(api_key_file) if api_key_file else Keys([])
    if unix_socket:
        sock, url, is_checked = open_unix_socket(unix_socket), f"unix:{unix_socket}", False
    else:
        sock = open_address(host, port, may_be_open=bool(keys) or insecure_no_key)
        url, is_checked = url_of(sock, host), is_local(sock) and not keys and not insecure_no_key
    settings = Settings(
        embedders=model,
        rerankers=reranker,
        precision=precision,
        device=device,
        threads=threads,
        local_files_only=local_files_only,
        limits=Limits(
            body_bytes=max_body_bytes,
            texts=max_texts,
            characters=max_characters,
            request_seconds=request_seconds,
            waiting_texts=max_waiting_texts,
            waiting_tokens=max_waiting_tokens,
        ),
        keys=keys,
        hosts=[*hosts, host] if is_checked or hosts else None,
        origins=origins,
        auto_truncate=auto_truncate,
        access_log=access_log,
        shutdown_seconds=shutdown_seconds,
    )
    process = os.getpid()
    status = supervise(
        lambda place: run_server(
            settings, sock, place, lambda models: None if place.restarts else _print(url, models, bool(keys))
        ),
        sock,
        shutdown_seconds=shutdown_seconds,
    )
    if unix_socket and os.getpid() == process:  # and not a child, which another one may replace
        unix_socket.unlink(missing_ok=True)
    click.get_current_context().exit(status)


def _check_installed() -> None:
    """Raise MissingExtraError, before a model is loaded, if what the server needs is not installed."""
    from importlib.util import find_spec

    missing = None if find_spec("uvicorn") else "uvicorn"
    missing = missing if find_spec("starlette") else "starlette"
    if missing:
        raise MissingExtraError(f"{missing} is not installed; run `pip install 'embedge[server]'`")


def _print(url: str, models: Models, has_keys: bool) -> None:
    """Print the URL, the routes and a line to try."""
    from embedge.server.app import ROUTES

    click.echo(f"serving {', '.join(named.name for named in models)} at {url} (Ctrl+C stops)\n")
    for route in ROUTES:
        click.echo(f"  {route.method:4} {route.path:16} {route.about}")
    key = ' -H "Authorization: Bearer $KEY"' if has_keys else ""
    at = f"--unix-socket {url.removeprefix('unix:')} http://localhost" if url.startswith("unix:") else url
    field = '"inputs": "hello"' if models.embedders else '"query": "a question", "texts": ["a document"]'
    path = "/embed" if models.embedders else "/rerank"
    click.echo(f"\ncurl {at}{path}{key} -H 'Content-Type: application/json' -d '{{{field}}}'")
