"""A campaign of hostile input: files, graphs, texts, options, commands and hubs that are wrong, and kills.

python tests/robustness/run.py --seconds 600
python tests/robustness/run.py --only graphs,encode --seed 7
python tests/robustness/run.py --only graphs --seed 7 --trial 123

Right is an error of embedge's, or a right result. A fault is anything else: another exception, a wrong vector, a hang,
a crash, output where there should be none. The same kind and seed make the same trials. Exits 1 where there is a fault.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from campaign.kinds import KINDS, NEEDED
from campaign.watch import watch
from embedge_export import export
from tiny import write_checkpoint

_SLICES = (3.0, 15.0)  # seconds of one worker, least and most; then another kind has its turn


@dataclass
class Tally:
    """What came of a kind: trials, the seconds they took, and each fault with the index of its trial."""

    trials: int = 0
    seconds: float = 0
    faults: list[tuple[int, str]] = field(default_factory=list)


def prepare(folder: Path, checkpoint: Path | None) -> Path:
    """A bench in a folder: a checkpoint, the small one where it is None, and its bundle."""
    bench = folder / "bench"
    if checkpoint is None:
        write_checkpoint(bench / "checkpoint", prompts={"query": "how do i "})
    else:
        bench.mkdir()
        (bench / "checkpoint").symlink_to(checkpoint.resolve(), target_is_directory=True)
    export(bench / "checkpoint", bench / "bundle", precisions=("int8", "fp32"), verify=False)
    return bench


class Campaign:
    """Kinds share the time of some workers, each by its share.

    Args:
        names: of the kinds.
        seed: of all trials.
        folder: for what they need; has the bench.
        trials: most of each kind.
        start: index of the first.
    """

    def __init__(self, names: Sequence[str], *, seed: int, folder: Path, trials: int, start: int = 0) -> None:
        self.tallies = {name: Tally() for name in names}
        self._seed, self._folder, self._trials, self._start = seed, folder, trials, start
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._failures: list[BaseException] = []

    def run(self, seconds: float, *, lanes: int) -> None:
        """So many workers at once, for so long, or until all trials are done."""
        until = time.monotonic() + seconds
        self._slice = min(_SLICES[1], max(_SLICES[0], seconds * lanes / len(self.tallies) / 3))
        threads = [threading.Thread(target=self._lane, args=(until,)) for _ in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _lane(self, until: float) -> None:
        try:
            while time.monotonic() < until and (name := self._next()):
                self._work(name, min(until, time.monotonic() + self._slice))
                with self._lock:
                    self._busy.discard(name)
        except BaseException as error:
            self._failures.append(error)

    def _next(self) -> str | None:
        """The kind that had least of its share, of those that nobody works on."""
        with self._lock:
            left = [name for name, tally in self.tallies.items() if tally.trials < self._trials]
            free = [name for name in left if name not in self._busy]
            if not free:
                return None
            name = min(free, key=lambda name: self.tallies[name].seconds / KINDS[name].share)
            self._busy.add(name)
            return name

    def _work(self, name: str, until: float) -> None:
        tally, began = self.tallies[name], time.monotonic()
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=f"{name}-", ignore_cleanup_errors=True) as scratch:
            where = ["--bench", str(self._folder / "bench"), "--scratch", scratch]
            counts = ["--start", str(self._start + tally.trials), "--trials", str(self._trials - tally.trials)]
            command = [sys.executable, "-m", "campaign.worker", name, "--seed", str(self._seed), *where, *counts]
            for ended in watch(command, limit=KINDS[name].limit, until=until, log=self._folder / f"{name}.log"):
                tally.trials += 1
                if ended.fault is not None:
                    tally.faults.append((ended.index, ended.fault))
        tally.seconds += time.monotonic() - began


def table(tallies: dict[str, Tally], seed: int) -> str:
    """Trials and faults of each kind; and each fault once, with how to see it again."""
    rows = [f"{'kind':<12}{'trials':>9}{'seconds':>9}{'faults':>8}"]
    rows += [f"{name:<12}{t.trials:>9}{t.seconds:>9.0f}{len(t.faults):>8}" for name, t in tallies.items()]
    sums = [sum(t.trials for t in tallies.values()), sum(t.seconds for t in tallies.values())]
    rows.append(f"{'all':<12}{sums[0]:>9}{sums[1]:>9.0f}{sum(len(t.faults) for t in tallies.values()):>8}")
    for name, tally in tallies.items():
        seen: dict[str, list[int]] = {}
        for index, fault in tally.faults:
            seen.setdefault(_signature(fault), []).append(index)
        first = dict(tally.faults)
        for found in sorted(seen.values(), key=len, reverse=True):
            rows.append(f"{name}: {first[found[0]]}")
            rows.append(f"    {len(found)} like it; again: --only {name} --seed {seed} --trial {found[0]}")
    return "\n".join(rows)


def _signature(fault: str) -> str:
    """What faults of one cause have in common: where they came from, or what they say before the first colon."""
    head = re.sub("U[+][0-9A-F]+|[0-9]+ bytes", "", fault.partition(":")[0])
    return f"{head} {fault.rpartition('[')[2]}" if fault.endswith("]") else head


def main() -> None:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help=f"kinds, by commas: {', '.join(KINDS)}")
    parser.add_argument("--trials", type=int, default=1 << 60, help="most of each kind")
    parser.add_argument("--trial", type=int, help="this one alone")
    parser.add_argument("--checkpoint", type=Path, help="instead of a small seeded one")
    parser.add_argument("--json", type=Path, help="also write what was found here")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(KINDS)
    if unknown := set(names) - set(KINDS):
        parser.error(f"no kind is called {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    for name in [name for name in names if name in NEEDED and not find_spec(NEEDED[name])]:
        print(f"{name} is left out: it needs {NEEDED[name]}, which is not installed")
        names.remove(name)
    one = given.trial is not None
    with tempfile.TemporaryDirectory(prefix="embedge-robustness-", ignore_cleanup_errors=True) as folder:
        prepare(Path(folder), given.checkpoint)
        start, trials = (given.trial, 1) if one else (0, given.trials)
        campaign = Campaign(names, seed=given.seed, folder=Path(folder), trials=trials, start=start)
        campaign.run(given.seconds, lanes=max(1, len(os.sched_getaffinity(0))))
    print(table(campaign.tallies, given.seed))
    if given.json:
        found = {name: asdict(tally) for name, tally in campaign.tallies.items()}
        given.json.write_text(json.dumps({"seed": given.seed, "kinds": found}, indent=1) + "\n")
    sys.exit(any(tally.faults for tally in campaign.tallies.values()))


if __name__ == "__main__":
    main()
