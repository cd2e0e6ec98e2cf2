"""Test embedge with hostile input: wrong files, graphs, texts, options, commands and hubs, and killed commands.

python tests/robustness/run.py --seconds 600
python tests/robustness/run.py --only graphs,encode --seed 7
python tests/robustness/run.py --only graphs --seed 7 --trial 123

embedge passes a trial if it raises one of its own errors or gives a correct result. Anything else is a fault: another
exception, a wrong vector, a hang, a crash, unexpected output. The same kind and seed give the same trials. The exit
code is 1 if there is a fault.
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

_SLICES = (3.0, 15.0)  # fewest and most seconds of one worker, before another kind runs


@dataclass
class Tally:
    """The results of one kind: trials, the seconds they took, and each fault with the index of its trial."""

    trials: int = 0
    seconds: float = 0
    faults: list[tuple[int, str]] = field(default_factory=list)


def prepare(folder: Path, checkpoint: Path | None) -> Path:
    """Make a bench in a folder: a checkpoint (a small one if None) and its bundle. Return the folder of the bench."""
    bench = folder / "bench"
    if checkpoint is None:
        write_checkpoint(bench / "checkpoint", prompts={"query": "how do i "})
    else:
        bench.mkdir()
        (bench / "checkpoint").symlink_to(checkpoint.resolve(), target_is_directory=True)
    export(bench / "checkpoint", bench / "bundle", precisions=("int8", "fp32"), verify=False)
    return bench


class Campaign:
    """Runs trials of several kinds. Each kind gets its share of the time of the workers.

    Args:
        names: the names of the kinds.
        seed: the seed of all trials.
        folder: the folder with the bench, also for temporary files.
        trials: the maximum number of trials of each kind.
        start: the index of the first trial.
    """

    def __init__(self, names: Sequence[str], *, seed: int, folder: Path, trials: int, start: int = 0) -> None:
        self.tallies = {name: Tally() for name in names}
        self._seed, self._folder, self._trials, self._start = seed, folder, trials, start
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._failures: list[BaseException] = []

    def run(self, seconds: float, *, lanes: int) -> None:
        """Run ``lanes`` workers at once for ``seconds``, or until all trials are done."""
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
        """The kind that is furthest below its share of the time, of those without a worker."""
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
    """A table of the trials and faults of each kind, and each different fault with the options that repeat it."""
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
    """What faults with the same cause share: the line of code, or the text before the first colon."""
    head = re.sub("U[+][0-9A-F]+|[0-9]+ bytes", "", fault.partition(":")[0])
    return f"{head} {fault.rpartition('[')[2]}" if fault.endswith("]") else head


def main() -> None:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=120, help="time to run, divided among the kinds (default: 120)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the trials (default: 0)")
    parser.add_argument("--only", help=f"kinds, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--trials", type=int, default=1 << 60, help="largest number of trials of each kind")
    parser.add_argument("--trial", type=int, help="run only this trial")
    parser.add_argument(
        "--checkpoint", type=Path, help="directory of a checkpoint to use instead of the small random one"
    )
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(KINDS)
    if unknown := set(names) - set(KINDS):
        parser.error(f"no kind is called {', '.join(sorted(unknown))}; the kinds are {', '.join(KINDS)}")
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
