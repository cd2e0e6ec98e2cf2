"""Measure how fast `embedge serve` answers, against Embedder on the same machine and against other servers.

python -m benchmarks.serve --help
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from urllib.parse import urlsplit

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.data.mixed_texts import mixed_texts
from benchmarks.measure.comparison import Comparison, open_comparison, short_and_long
from benchmarks.measure.http_load import Api, WrongAnswerError, ask, concurrent, one_at_a_time
from benchmarks.measure.options import Setup, comparison_options
from benchmarks.peers.process import PeerFailedError, PeerProcess
from benchmarks.peers.server_process import RunningServer, memory_of, running
from benchmarks.peers.server_table import SERVER_PEERS
from benchmarks.peers.table import OWN
from benchmarks.peers.virtual_environment import EnvironmentFailedError
from benchmarks.report.server_report import ServerFigures, publish, version_of

_COUNT = 2000  # texts
_IDLE = 200  # texts that are asked for alone
_COMPARED = 20  # texts whose vectors are compared


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@click.option("--texts", "kind", type=click.Choice(["mixed", "short"]), default="mixed", show_default=True,
              help="Texts of 5 to 60 words, or sentences of STS-B.")  # fmt: skip
@click.option("--clients", type=click.IntRange(min=1), default=32, show_default=True, help="Requests at a time.")
@click.option("--seconds", type=float, default=3, show_default=True, help="Seconds of load in a round.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Interleaved rounds.")
@click.option("--server", "others", multiple=True, metavar="NAME=URL=MODEL",
              help="A server that runs already, by its OpenAI API.")  # fmt: skip
def main(setup: Setup, kind: str, clients: int, seconds: float, rounds: int, others: tuple[str, ...]) -> None:
    """Measure servers of one model: medians of interleaved rounds, after a round that warms up.

    The table has the texts a second of `Embedder.encode` in one call, and of each server with 32 requests of one text
    at a time; p50 and p99 of these requests; p50 of one text that is asked for alone; the memory of the server's
    processes (Pss) after the load; seconds from the start of its command to its first answer; and the smallest cosine
    of a vector with that of embedge-int8. All servers run all the time, and wait while others are measured.

    \b
    python -m benchmarks.serve -m all-MiniLM-L6-v2
    python -m benchmarks.serve --peers 'embedge-*' --peers infinity-onnx-int8 --texts short
    """
    if setup.plot:
        raise click.UsageError("this program draws no chart; leave out --plot")
    with open_comparison(setup, own=OWN, table=SERVER_PEERS) as comparison, ExitStack() as stack:
        servers = {one.name: one for one in _start(comparison, stack)}
        for line in others:
            name, url, model = _parts(line)
            servers[name] = RunningServer(name, _api(url, model), 0, 0.0)
        texts = _texts(comparison, kind)
        plain, figures = _measure(comparison, stack, servers, texts, clients, seconds, rounds)
    publish(setup, comparison, clients=clients, plain=plain, servers=figures)


def _texts(comparison: Comparison, kind: str) -> list[str]:
    if kind == "mixed":
        return mixed_texts(_COUNT)
    return short_and_long(comparison, {"short": _COUNT, "long": 0})["short"]


def _parts(line: str) -> tuple[str, str, str]:
    parts = line.split("=", 2)
    if len(parts) != 3:
        raise click.UsageError(f"--server {line} is not NAME=URL=MODEL; pass infinity=http://127.0.0.1:7997/v1=model")
    return parts[0], parts[1], parts[2]


def _api(url: str, model: str) -> Api:
    found = urlsplit(url)
    return Api(found.hostname or "127.0.0.1", found.port or 80, model, found.path)


def _start(comparison: Comparison, stack: ExitStack) -> list[RunningServer]:
    """Start the servers, one after the other; one that fails is left out."""
    started = []
    for built in list(comparison.peers):
        try:
            started.append(stack.enter_context(running(built.peer, built.kit)))
        except (PeerFailedError, EnvironmentFailedError) as error:
            if built.peer.name == comparison.own:
                raise click.ClickException(str(error)) from error
            comparison.leave_out(built, str(error), {})
    return started


def _measure(
    comparison: Comparison,
    stack: ExitStack,
    servers: Mapping[str, RunningServer],
    texts: Sequence[str],
    clients: int,
    seconds: float,
    rounds: int,
) -> tuple[dict[str, ServerFigures], dict[str, ServerFigures]]:
    """Return the figures of plain calls and of servers, by row. In a round, a plain call precedes its server."""
    path, idle = comparison.write_texts("all", texts), comparison.write_texts("idle", texts[:_IDLE])
    calls = {
        built.peer.name: stack.enter_context(PeerProcess(built.peer, built.kit))
        for built in comparison.peers
        if built.peer.module == "embedge"
    }
    plain = {name: ServerFigures() for name in calls}
    figures = {name: ServerFigures(start=server.start_seconds or None) for name, server in servers.items()}
    for number in range(rounds + 1):
        for name, server in servers.items():
            if name in calls:
                rate = len(texts) / calls[name].ask("encode", texts=path)["seconds"]
                alone = median(calls[name].ask("each", texts=idle)["milliseconds"]) / 1e3
                if number:
                    plain[name].rate.append(rate)
                    plain[name].idle.append(alone)
            _measure_server(server, texts, clients, seconds, figures[name] if number else ServerFigures())
        click.echo(f"round {number} of {rounds}", err=True)
    own = _vectors(servers[comparison.own].api, texts)
    for built in comparison.peers:
        mine, server = figures[built.peer.name], servers[built.peer.name]
        mine.version = version_of(built.peer)
        mine.cosine = float(np.sum(_vectors(server.api, texts) * own, axis=1).min())
    return plain, figures


def _measure_server(
    server: RunningServer, texts: Sequence[str], clients: int, seconds: float, into: ServerFigures
) -> None:
    try:
        rate, times = concurrent(server.api, texts, clients=clients, seconds=seconds)
        alone = one_at_a_time(server.api, texts[:_IDLE])
    except (OSError, WrongAnswerError) as error:
        raise click.ClickException(f"{server.name}: {error}") from error
    into.rate.append(rate)
    into.p50.append(median(times))
    into.p99.append(float(np.quantile(times, 0.99)))
    into.idle.append(median(alone))
    if server.process:
        into.memory.append(memory_of(server.process))


def _vectors(api: Api, texts: Sequence[str]) -> NDArray[np.float32]:
    vectors = np.array([ask(api, text) for text in texts[:_COMPARED]], np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
