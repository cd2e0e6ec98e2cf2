"""Compare a bundle's vectors on emulated processors with those of this one. QEMU emulates them.

python tests/emulated/run.py --help
"""

import argparse
import io
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from debian import CannotEmulateError
from embedge import Embedder, EmbedgeError
from embedge.bundle.cache_paths import cache_home
from embedge.bundle.manifest import PRECISIONS
from embedge.hub.resolve import resolve
from embedge_export.verify.passages import documents, questions
from machines import CPUS, Cpu, python_on

# The numeric contract, for int8: on any processor, a vector's cosine to that of another.
MEAN, MINIMUM = 0.9997, 0.998
_CANNOT = 77  # exit code of a check that cannot be made here, as automake has it
_EMBED = Path(__file__).with_name("embed.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How near the vectors of an emulated processor are to those of this one.

    Attributes:
        mean: of the cosines.
        minimum: of the cosines.
        equal: how many of the vectors are bitwise the same.
        texts: how many there are.
        seconds: that the emulation took.
    """

    mean: float
    minimum: float
    equal: int
    texts: int
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether the contract is. False for NaN."""
        return self.mean >= MEAN and self.minimum >= MINIMUM


def compare(
    bundle: Path, precision: str, texts: list[str], expected: NDArray[np.float32], cpu: Cpu, cache: Path
) -> Agreement:
    """Embed texts on an emulated processor.

    Raises:
        CannotEmulateError: there is no emulator to be had here.
        subprocess.CalledProcessError: the emulated process failed.
    """
    with python_on(cpu, cache) as (python, environment):
        start = time.perf_counter()
        command = [*python, str(_EMBED), str(bundle), precision]
        done = subprocess.run(
            command, input=json.dumps(texts).encode(), env=environment, stdout=subprocess.PIPE, check=True
        )
    found = np.load(io.BytesIO(done.stdout))
    cosines = (found.astype(np.float64) * expected).sum(axis=1)
    return Agreement(
        mean=float(cosines.mean()),
        minimum=float(cosines.min()),
        equal=int((found == expected).all(axis=1).sum()),
        texts=len(texts),
        seconds=time.perf_counter() - start,
    )


def main() -> int:
    """Print a row for each processor; 1 if one is outside the contract, 77 if none can be emulated here."""
    options = _options()
    try:
        bundle = resolve(options.bundle, precision=options.precision)
        bundle.pick_precision(options.precision)
        bundle.check()
    except EmbedgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    texts = [*documents(), *(question.text for question in questions())][:: options.every]
    # The plain graph, as on the emulated processors, which have no kernels; emulated/kernels.py compares those.
    here = Embedder(bundle.path, precision=options.precision, kernels=False)
    expected = here.encode(texts, prompt="", on_truncate="ignore")
    print(f"{options.precision} of {bundle.path}, {len(texts)} texts, cosine to this processor's vectors", flush=True)
    print(f"{'processor':<12} {'mean':>9} {'min':>9} {'equal':>7} {'seconds':>8}", flush=True)
    agreements = []
    for name in options.cpu or CPUS:
        try:
            found = compare(bundle.path, options.precision, texts, expected, CPUS[name], cache_home() / "emulated")
        except CannotEmulateError as error:
            print(f"{name:<12} not emulated: {error}", flush=True)
            continue
        agreements.append(found)
        row = f"{name:<12} {found.mean:9.6f} {found.minimum:9.6f} {found.equal:>3}/{found.texts} {found.seconds:8.0f}"
        print(row + ("" if found.kept else f"   below {MEAN} / {MINIMUM}"), flush=True)
    if not agreements:
        return _CANNOT
    return 0 if all(found.kept for found in agreements) else 1


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare a bundle's vectors on emulated processors with those of this one. "
        f"The exit code is 0 if all agree, 1 if the mean cosine is below {MEAN} or a cosine is below {MINIMUM}, 2 for "
        f"wrong usage, and {_CANNOT} if no processor can be emulated here.",
        epilog="Processors: " + "; ".join(f"{name} ({cpu.about})" for name, cpu in CPUS.items()),
    )
    parser.add_argument("bundle", help="path of a bundle, or the name of one in the cache")
    parser.add_argument(
        "--cpu", action="append", choices=CPUS, help="processor to emulate; you can repeat this option (default: all)"
    )
    parser.add_argument(
        "--precision", default="int8", choices=PRECISIONS, help="precision of the graph (default: %(default)s)"
    )
    parser.add_argument(
        "--every", type=_positive, default=1, metavar="N", help="embed only every N-th text, to be faster"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
