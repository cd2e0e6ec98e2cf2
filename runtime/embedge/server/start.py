"""Load the models and run the server: what a process of `embedge serve` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from socket import socket
from typing import TYPE_CHECKING, TypeVar

from embedge.errors import BundleError
from embedge.server.keys import Keys
from embedge.server.limits import Limits

if TYPE_CHECKING:
    from embedge.async_embedder import AsyncEmbedder
    from embedge.async_reranker import AsyncReranker
    from embedge.bundle.manifest import Precision
    from embedge.server.served import Models
    from embedge.server.supervisor import Place

AnyQueue = TypeVar("AnyQueue", "AsyncEmbedder", "AsyncReranker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `embedge serve` was asked for.

    Attributes:
        embedders: names or paths of embedders.
        rerankers: names or paths of rerankers.
        precision: see ``Embedder``; likewise ``device``, ``threads`` and ``local_files_only``.
        device: see ``Embedder``.
        threads: see ``Embedder``.
        local_files_only: see ``Embedder``.
        limits: what requests may take.
        keys: the API keys.
        hosts: names that requests may use for the server; None allows every name.
        origins: web origins whose pages may use the server.
        auto_truncate: whether texts are truncated if a request does not say; None does what each API does.
        access_log: whether to write a line for each request.
        shutdown_seconds: time to finish requests after SIGTERM.
    """

    embedders: Sequence[str]
    rerankers: Sequence[str]
    precision: Precision | None
    device: str
    threads: int | None
    local_files_only: bool
    limits: Limits
    keys: Keys
    hosts: Sequence[str] | None
    origins: Sequence[str]
    auto_truncate: bool | None
    access_log: bool
    shutdown_seconds: float


def serve(settings: Settings, sock: socket, place: Place, on_ready: Callable[[Models], None]) -> None:
    """Load the models, and answer requests on a socket until the process is told to stop.

    Args:
        settings: what to serve.
        sock: the socket, which listens.
        place: where the server runs.
        on_ready: called with the models when requests are answered.

    Raises:
        MissingExtraError: Starlette or uvicorn is not installed.
    """
    models = load_models(settings)
    from embedge.server.app import make_app
    from embedge.server.body import BodyReader
    from embedge.server.endpoint import Serving
    from embedge.server.metrics import Metrics
    from embedge.server.origin import Origins
    from embedge.server.process import run
    from embedge.server.timers import Timers

    limits = settings.limits
    metrics = Metrics(models.waiting, place.restarts)
    models.observe(metrics.add_batch)
    timers = Timers()
    serving = Serving(models, limits, BodyReader(limits, timers), metrics, timers, settings.auto_truncate)

    def ready() -> None:
        place.tell_ready()
        on_ready(models)

    run(
        make_app(serving, settings.keys, Origins(settings.hosts, settings.origins), access_log=settings.access_log),
        sock,
        receive_seconds=limits.receive_seconds,
        shutdown_seconds=settings.shutdown_seconds,
        on_ready=ready,
        close=models.close,
        parent=place.parent,
    )


def load_models(settings: Settings) -> Models:
    """Return the models, loaded; raises as ``Embedder``, or BundleError if one belongs to the other option."""
    from embedge.async_embedder import AsyncEmbedder
    from embedge.async_reranker import AsyncReranker
    from embedge.model import OtherTaskError
    from embedge.server.served import Models, named

    def load(kind: type[AnyQueue], name: str, what_it_is: str) -> AnyQueue:
        try:
            return kind(
                name,
                precision=settings.precision,
                device=settings.device,
                threads=settings.threads,
                local_files_only=settings.local_files_only,
                max_waiting_texts=settings.limits.waiting_texts,
                max_waiting_tokens=settings.limits.waiting_tokens,
            )
        except OtherTaskError as error:
            raise BundleError(f"{name} is {what_it_is} {name}") from error

    embedders = [(name, load(AsyncEmbedder, name, "a reranker; pass --reranker")) for name in settings.embedders]
    rerankers = [
        (name, load(AsyncReranker, name, "an embedder; leave --reranker out before")) for name in settings.rerankers
    ]
    return Models(
        [named(queue.embedder, queue, name) for name, queue in embedders],
        [named(queue.reranker, queue, name) for name, queue in rerankers],
    )
