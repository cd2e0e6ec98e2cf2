"""Run trials of one kind in this process, which may hang or abort. Write a line of JSON before and after each.

python -m campaign.worker KIND --seed 0 --start 0 --bench DIR --scratch DIR
"""

import argparse
import json
import os
import resource
from pathlib import Path

_MEMORY = 8 << 30  # bytes of address space


def main() -> None:
    """Run trials from ``--start`` on, until ``--trials`` are done or the pipe closes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("kind")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--trials", type=int, default=1 << 60)
    parser.add_argument("--bench", type=Path, required=True, help="has checkpoint/ and bundle/")
    parser.add_argument("--scratch", type=Path, required=True)
    given = parser.parse_args()
    report = os.fdopen(os.dup(1), "w", buffering=1)
    caught = given.scratch / "stdout"
    # Capture everything that is printed, also from C: a library should not write to stdout.
    os.dup2(os.open(caught, os.O_RDWR | os.O_CREAT | os.O_TRUNC), 1)
    os.environ |= {"EMBEDGE_HOME": str(given.scratch / "home"), "HF_HOME": str(given.scratch / "hf")}
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    from campaign.kinds import KINDS  # imported under the limits
    from campaign.trial import Bench, run_trial

    bench = Bench(given.bench / "checkpoint", given.bench / "bundle", given.scratch)
    for index in range(given.start, given.start + given.trials):
        print(json.dumps({"begin": index}), file=report)
        fault = run_trial(KINDS[given.kind], bench, seed=given.seed, index=index)
        if fault is None and (size := caught.stat().st_size):
            fault = f"{size} bytes on stdout: {caught.read_bytes()[:100]!r}"
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)
        print(json.dumps({"end": index, "fault": fault}), file=report)
    report.flush()
    os._exit(0)  # do not wait for a trial's server, or for a thread of a failed trial


if __name__ == "__main__":
    main()
