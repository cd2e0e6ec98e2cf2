"""Imports ONNX Runtime with its telemetry off, unless the environment says otherwise. The only place that imports it.

ONNX Runtime's official wheels for Linux and macOS send telemetry to Microsoft since version 1.29, beginning with the
import. It starts a thread that resolves a host's name, writes two files to the home folder, and makes forked children
abort or hang when they end. ``onnxruntime.disable_telemetry_events`` comes too late for all of these.

This is the only environment variable that the library sets. A library should set none, because other code may read it.
This one is worth it: people who embed on their own machine want nothing to leave it, and its forks must end.
"""

import os

# Read at the import: "1", "true", "yes" or "on" turns telemetry off, and anything else leaves it on. Source:
# microsoft/onnxruntime, docs/Privacy.md, and a run of 1.29.0, 1.31.1 and 1.32.0 with each value.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort  # after the variable is set

__all__ = ["ort"]
