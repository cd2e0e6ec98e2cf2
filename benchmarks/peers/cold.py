"""A process that loads an encoder, makes one vector, says so and ends: what a cold start is.

``peers.process`` starts it, with a peer's module and its kit as JSON in the first argument.
"""

import json
import os
import sys


def main() -> None:
    """One line on stdout once there is a vector; how much memory it took, in bytes."""
    out = os.dup(1)
    os.dup2(2, 1)  # libraries print what they like
    from peers.child import load, memory

    load(json.loads(sys.argv[1])).encode(["how do I bake bread?"])
    os.write(out, b"vector\n")
    os.write(out, f"{memory()['peak']}\n".encode())
    os._exit(0)  # what comes after is not the question, and some libraries take seconds to end
