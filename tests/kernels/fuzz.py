"""Fuzz embedge's operators: random shapes and hostile values, on every instruction set, compared to the last bit.

python tests/kernels/fuzz.py --help
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.kernels.cases import Array, Case, Program, RegistrationError, run, same_bits
from tests.kernels.graphs import RECIPES, SMALL, embedding, encoder_layer, row_dot, row_linear
from tests.kernels.standard_cases import layer_inputs, rows, some_counts, token_inputs

LONGEST, LARGEST_BATCH = 8192, 64
_ROUND = 24  # cases for each process
_VALUES = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, 0.0, -0.0, 1e20, -1e-20)
# Multiply-adds of one case: a second or less of the slowest code, scalar under a sanitiser.
_WORK = 4e8


def random_case(rng: np.random.Generator) -> Case:
    """Return a case of a random operator."""
    kind = rng.choice(["layer", "embedding", "linear", "dot"], p=[0.7, 0.1, 0.15, 0.05])
    if kind == "layer":
        return _layer(rng)
    if kind == "embedding":
        return _embedding(rng)
    count, depth, axes = _tokens(rng, 600), int(rng.choice([64, 128, 384, 1024])), int(rng.integers(2, 4))
    shape = (count, depth) if axes == 2 else (2, count, depth)
    if kind == "dot":
        graph = row_dot(depth, axes=axes, relu=_coin(rng), seed=_seed(rng))
    else:
        columns, static, bias = int(rng.choice([64, 192, 1024])), _coin(rng), _coin(rng)
        activation, seed = int(rng.integers(3)), _seed(rng)
        graph = row_linear(depth, columns, axes=axes, static=static, bias=bias, activation=activation, seed=seed)
    return Case(graph=graph, inputs={"rows": _hostile(rng, rows(_seed(rng), *shape))}, threads=_threads(rng))


def _layer(rng: np.random.Generator) -> Case:
    shape = (*SMALL, *RECIPES)[rng.choice(len(SMALL) + len(RECIPES), p=[0.2] * 4 + [0.05] * 4)]
    a_token = shape.width * (4 * shape.width + 2 * shape.inner)
    longest = 1
    while longest < LONGEST and 2 * longest * (a_token + 2 * longest * shape.width * 2) < _WORK:
        longest *= 2
    tokens = _tokens(rng, longest)
    batch = min(_tokens(rng, LARGEST_BATCH), max(1, longest // tokens))
    graph = encoder_layer(
        shape,
        seed=_seed(rng),
        static=frozenset(name for name in ("qkv", "q", "up") if _coin(rng)),
        first_token=_coin(rng),
        activation=str(rng.choice(["gelu", "gelu_tanh", "relu"])),  # type: ignore[arg-type]
        residual_scale=_coin(rng),
    )
    hidden = _hostile(rng, rows(_seed(rng), batch, tokens, shape.width))
    inputs = layer_inputs(hidden, some_counts(_seed(rng), batch, tokens) if _coin(rng) else None)
    if rng.random() < 0.05:  # not a mask of texts that are padded at their ends
        inputs["attention_mask"].flat[rng.integers(batch * tokens)] = rng.choice([-1, 0, 1, 2, 1 << 40])
    return Case(graph=graph, inputs=inputs, threads=_threads(rng))


def _embedding(rng: np.random.Generator) -> Case:
    given = _coin(rng)
    graph = embedding(int(rng.choice([64, 384, 1024])), vocabulary=97, positions=LONGEST, given=given)
    tokens = _tokens(rng, LONGEST)
    batch = min(_tokens(rng, LARGEST_BATCH), max(1, LONGEST // tokens))
    inputs = token_inputs(_seed(rng), batch, tokens, positions=LONGEST if given else None)
    if rng.random() < 0.2:
        name = str(rng.choice(list(inputs)))
        inputs[name].flat[rng.integers(inputs[name].size)] = rng.choice([-1, 2, 97, LONGEST, 1 << 40])
    return Case(graph=graph, inputs=inputs)


def _hostile(rng: np.random.Generator, found: Array) -> Array:
    """Half of the time as it is; else with some hostile values, a row of zeros, or scaled."""
    how = rng.integers(8)
    if how == 0:
        for _ in range(rng.integers(1, 4)):
            found.flat[rng.integers(found.size)] = rng.choice(_VALUES)
    elif how == 1:
        found.reshape(-1, found.shape[-1])[rng.integers(found.size // found.shape[-1])] = rng.choice(_VALUES)
    elif how == 2:
        found *= np.float32(10.0 ** rng.integers(-40, 37))
    elif how == 3:
        found[:] = rng.choice(_VALUES)
    return found


def _tokens(rng: np.random.Generator, longest: int) -> int:
    """A number up to ``longest``, in each octave as often as in another."""
    return int(min(longest, 2 ** rng.uniform(0, np.log2(longest) + 0.2)))


def _coin(rng: np.random.Generator) -> bool:
    return bool(rng.integers(2))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 32))


def _threads(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 4))


def sanitizer(library: Path) -> dict[str, str]:
    """Return the environment in which Python can load a library that was built with sanitisers; else an empty one.

    AddressSanitizer must be in the process first, and behind it libstdc++, whose exceptions it follows.
    """
    if sys.platform != "linux":
        return {}
    listed = subprocess.run(["ldd", str(library)], capture_output=True, text=True, check=True).stdout
    needed = dict(re.findall(r"(\S*(?:asan|libstdc)\S*) => (.+?)(?: \(0x|$)", listed, flags=re.MULTILINE))
    if not any("asan" in name for name in needed):
        return {}
    if "not found" in needed.values():
        raise SystemExit(f"{library} needs {', '.join(needed)}; put their folder on LD_LIBRARY_PATH")
    return {
        "LD_PRELOAD": " ".join(sorted(needed.values(), key=lambda path: "asan" not in path)),
        # So that an access beyond a small array is seen.
        "PYTHONMALLOC": "malloc",
        # Python and ONNX Runtime never give back all of their memory.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def compare(seed: int, program: Program, names: list[str]) -> list[str]:
    """Run one round of cases on the named sets; return what was wrong, a line for each."""
    rng = np.random.default_rng(seed)
    cases = [random_case(rng) for _ in range(_ROUND)]
    wrong, expected = [], None
    for name in names:
        try:
            outputs = run(cases, program, name).outputs
        except (subprocess.CalledProcessError, RegistrationError) as error:
            wrong.append(f"seed {seed}, {name}: {error}")
            continue
        expected = outputs if expected is None else expected
        for number, pair in enumerate(zip(outputs, expected, strict=True)):
            if not same_bits(*pair):
                wrong.append(f"seed {seed}, case {number} ({cases[number].graph.kind}): {name} differs from {names[0]}")
    return wrong


def main() -> int:
    """Print what was wrong; 1 if anything was."""
    options = _options()
    program = Program(library=options.library, environment=sanitizer(options.library))
    names = run([], program).instruction_sets[::-1]
    names = [name for name in options.isa or names if name in names]
    start, rounds, wrong = time.monotonic(), 0, []
    while time.monotonic() - start < options.seconds or rounds == 0:
        wrong += compare(options.seed + rounds, program, names)
        rounds += 1
    print(f"{rounds * _ROUND} cases on {', '.join(names)}: {len(wrong)} wrong", *wrong, sep="\n", flush=True)
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz embedge's operators on every instruction set of this processor.")
    parser.add_argument("library", type=Path, help="path of the library")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first round (default: %(default)s)")
    parser.add_argument("--isa", action="append", help="instruction set; you can repeat this option (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
