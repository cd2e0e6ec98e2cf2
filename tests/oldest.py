"""Prints the lowest version of every dependency that pyproject.toml allows, as pins for pip: `name==version` a line.

    pip install -e '.[export]' $(python tests/oldest.py export)

What the lowest versions themselves depend on is pip's matter. Needs nothing but Python.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
_BOUND = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(\[.*\])?\s*>=\s*(?P<version>[0-9][0-9A-Za-z.]*)")


def pins(requirements: Iterable[str]) -> Iterator[str]:
    """The lowest version that each allows, exactly; what has no lower bound is left out.

    >>> list(pins(["numpy>=1.26", "mteb>=2.1,<3", "torch==2.13.0", "pip", "embedge[export]"]))
    ['numpy==1.26', 'mteb==2.1']
    """
    for requirement in requirements:
        if found := _BOUND.match(requirement):
            yield f"{found['name']}=={found['version']}"


def main() -> None:
    """Pins of the dependencies, and of those of the extras that are named."""
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    print(*pins([*project["dependencies"], *(line for extra in sys.argv[1:] for line in extras[extra])]), sep="\n")


if __name__ == "__main__":
    main()
