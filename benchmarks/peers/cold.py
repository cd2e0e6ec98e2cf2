"""The process of a cold start: loads an encoder, embeds one text, prints a line and ends.

``benchmarks.peers.process`` gives the command, with the peer's module and kit as JSON in the first argument.
"""

import json
import os
import sys


def main() -> None:
    """Write a line when the vector is there, and a second line with the peak memory in bytes."""
    out = os.dup(1)
    os.dup2(2, 1)  # so that prints of a library do not mix with the lines
    from benchmarks.peers.child import load, memory

    load(json.loads(sys.argv[1])).encode(["how do I bake bread?"])
    os.write(out, b"vector\n")
    os.write(out, f"{memory()['peak']}\n".encode())
    os._exit(0)  # some libraries take seconds to end, which is not part of a cold start
