"""A Google Cloud function. Deploy this folder, with the bundle in it; docs/serverless.md has the commands."""

import os
from pathlib import Path

os.environ.setdefault("EMBEDGE_MODEL", str(Path(__file__).with_name("bundle")))

from embedge.serverless import cloud_function as embed  # after the variable: it loads the model

__all__ = ["embed"]
