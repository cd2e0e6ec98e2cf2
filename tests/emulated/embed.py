"""What runs on the emulated processor: texts as JSON on stdin, vectors as .npy on stdout."""

import json
import sys

import numpy as np

from embedge import Embedder

bundle, precision = sys.argv[1:]
model = Embedder(bundle, precision=precision, threads=1, kernels=False)  # type: ignore[arg-type]
np.save(sys.stdout.buffer, model.encode(json.load(sys.stdin), prompt="", on_truncate="ignore"))
