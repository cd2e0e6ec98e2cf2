"""Measure how fast `embedge serve` answers, against Embedder on the same machine and against other servers.

python -m benchmarks.serve --help
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import click

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
CLIENTS = 32
_WORDS = ("the", "of", "bread", "cat", "river", "embedding", "search", "is", "query", "mountain", "a", "house", "seven")


@dataclass(frozen=True)
class Target:
    """A server, by the URL of its OpenAI API, and the model to ask for."""

    name: str
    url: str
    model: str

    def connect(self) -> HTTPConnection:
        """Return a connection."""
        parts = urlsplit(self.url)
        return HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=60)

    def ask(self, connection: HTTPConnection, text: str) -> None:
        """Embed one text; raise RuntimeError if the server does not."""
        body = json.dumps({"model": self.model, "input": text, "encoding_format": "base64"})
        path = urlsplit(self.url).path
        connection.request("POST", f"{path}/embeddings", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.name} answered {response.status}: {content[:200]!r}")


@dataclass
class Figures:
    """What was measured, one number for each round."""

    throughput: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)

    def row(self, name: str, memory: str = "", start: str = "") -> str:
        """Return a row of the table."""
        rate, p50, p99, idle = (
            statistics.median(one) if one else float("nan") for one in (self.throughput, self.p50, self.p99, self.idle)
        )
        return f"{name:24} {rate:10.0f} {p50 * 1e3:8.2f} {p99 * 1e3:8.2f} {idle * 1e3:9.3f} {memory:>8} {start:>8}"


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Return texts of 5 to 60 words."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(_WORDS, k=rng.randint(5, 60))) for _ in range(count)]


def measure_concurrent(target: Target, texts: Sequence[str], seconds: float) -> tuple[float, float, float]:
    """Return requests a second, p50 and p99 in seconds, of 32 clients that send one text at a time."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection, at = target.connect(), number
        while (begin := time.perf_counter()) < end:
            target.ask(connection, texts[at % len(texts)])
            times.append(time.perf_counter() - begin)
            at += CLIENTS
        connection.close()

    begin = time.perf_counter()
    in_threads(client)
    spent = time.perf_counter() - begin
    ordered = sorted(times)
    return len(times) / spent, statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def in_threads(client: Callable[[int], None]) -> None:
    """Run the clients."""
    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure_idle(ask: Callable[[str], object], texts: Sequence[str]) -> float:
    """Return the median seconds of one text at a time."""
    times = []
    for text in texts[:200]:
        begin = time.perf_counter()
        ask(text)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


@contextmanager
def own_server(bundle: Path) -> Iterator[tuple[Target, int, float]]:
    """Run `embedge serve`; yield it, its process, and the seconds from its start to its first answer."""
    command = [sys.executable, "-m", "embedge", "serve", str(bundle), "--port", "0"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        url = next(line for line in lines if line.startswith("serving")).split(" at ")[1].split()[0]
        model = json.loads(_get(url, "/v1/models"))["data"][0]["id"]
        target = Target("embedge serve", f"{url}/v1", model)
        target.ask(target.connect(), "first")
        yield target, process.pid, time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def _get(url: str, path: str) -> bytes:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().read()


def memory_of(process: int) -> str:
    """Return the megabytes of a process and its children, as Linux tells; the pages that they share count once."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        total = 0
        for one in (str(process), *children):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except OSError:
        return "?"
    return f"{total / 1024:.0f} MB"


def cold_start(bundle: Path) -> float:
    """Return the seconds from the start of Python to a first vector, without a server."""
    code = f"from embedge import Embedder; Embedder({str(bundle)!r}).encode('first')"
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seconds", type=float, default=3, show_default=True, help="Seconds of load in a round.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Interleaved rounds.")
@click.option(
    "--server", "servers", multiple=True, metavar="NAME=URL=MODEL", help="A server that runs, by its OpenAI API."
)
def main(bundle: Path, seconds: float, rounds: int, servers: tuple[str, ...]) -> None:
    """Measure an embedder's BUNDLE behind `embedge serve`: medians of interleaved rounds.

    The table has the texts a second of `Embedder.encode` in one call; requests a second, p50 and p99 of 32 concurrent
    requests of one text; p50 of one request on an idle server; the memory of the server; and the seconds from the start
    of the command to its first answer, beside those of a cold start.

    \b
    python -m benchmarks.serve ./bundle --server infinity=http://127.0.0.1:7997/v1=model
    """
    from embedge import Embedder

    embedder, texts = Embedder(bundle), make_texts(2000)
    starts = sorted(cold_start(bundle) for _ in range(3))
    others = [Target(*line.split("=", 2)) for line in servers]
    plain, figures = Figures(), {target.name: Figures() for target in others}
    with own_server(bundle) as (own, process, start):
        figures[own.name] = Figures()
        for number in range(rounds + 1):
            begin = time.perf_counter()
            embedder.encode(texts)
            rate = len(texts) / (time.perf_counter() - begin)
            idle = measure_idle(embedder.encode, texts)
            if number:  # the first round warms up
                plain.throughput.append(rate)
                plain.idle.append(idle)
            for target in (own, *others):
                measured = measure_concurrent(target, texts, seconds)
                connection = target.connect()
                idle = measure_idle(partial(target.ask, connection), texts)
                if number:
                    mine = figures[target.name]
                    for kept, value in zip((mine.throughput, mine.p50, mine.p99), measured, strict=True):
                        kept.append(value)
                    mine.idle.append(idle)
        click.echo(f"{'':24} {'texts/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'idle ms':>9} {'memory':>8} {'start s':>8}")
        click.echo(plain.row("Embedder.encode", start=f"{starts[1]:.3f}"))
        for name, mine in figures.items():
            if name == own.name:
                click.echo(mine.row(name, memory_of(process), f"{start:.3f}"))
            else:
                click.echo(mine.row(name))


if __name__ == "__main__":
    main()
