"""Run graphs of embedge's operators, and write what came out. Needs numpy and onnxruntime only.

A process of its own, because the instruction set is chosen once, and so that an emulated or a sanitised Python can run
it:

python tests/kernels/run_cases.py LIBRARY FOLDER OUT

FOLDER has `cases.json`, a list of {"name", "model", "inputs", "threads"}; OUT gets NAME.npy, or NAME.txt with the
error. The first line of stdout is the instruction set, and the second those that this processor can run.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

LIBRARY_FAILED = 3  # exit code: ONNX Runtime did not register the library


def open_session(library: str, model: bytes, threads: int) -> ort.InferenceSession:
    """Return a session in which each tensor has memory of its own, so that a sanitiser sees an access beyond one."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = options.enable_mem_pattern = options.enable_mem_reuse = False
    options.log_severity_level = 4  # errors come as exceptions
    options.register_custom_ops_library(library)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def instruction_sets(library: str) -> tuple[str, str]:
    """Return the set in use, and those that this processor can run, best first and comma separated."""
    loaded = ctypes.CDLL(library)
    found = []
    for function in (loaded.embedge_kernels_instruction_set, loaded.embedge_kernels_instruction_sets):
        function.restype = ctypes.c_char_p
        found.append(function().decode())
    return found[0], found[1]


def run_cases(library: str, folder: Path, out: Path) -> None:
    """Run every case of a folder; one session for each model and number of threads."""
    sessions: dict[tuple[str, int], ort.InferenceSession] = {}
    for case in json.loads((folder / "cases.json").read_text()):
        try:
            key = (case["model"], case["threads"])
            if key not in sessions:
                sessions[key] = open_session(library, (folder / case["model"]).read_bytes(), case["threads"])
            with np.load(folder / case["inputs"]) as inputs:
                (output,) = sessions[key].run(None, dict(inputs))
        except Exception as error:  # ONNX Runtime raises many kinds, some of them directly from Exception
            (out / f"{case['name']}.txt").write_text(f"{type(error).__name__}: {error}")
        else:
            np.save(out / f"{case['name']}.npy", output)


if __name__ == "__main__":
    try:
        ort.SessionOptions().register_custom_ops_library(sys.argv[1])
    except Exception as error:
        print(error, file=sys.stderr)
        sys.exit(LIBRARY_FAILED)
    print(*instruction_sets(sys.argv[1]), sep="\n", flush=True)
    run_cases(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
