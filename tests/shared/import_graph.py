"""The import graph of embedge and embedge_export, read from their sources with ``ast``: nothing is imported.

python tests/shared/import_graph.py [ROOT]

The room of a module is the direct child of its package that contains it: ``embedge.bundle`` for
``embedge.bundle.manifest``. An arrow is a pair of different rooms of one package, of which the first imports the second
in any way: at the top of a file, inside a function, under ``TYPE_CHECKING``, or by a string such as
``"embedge.command.embed:embed"``. A package's ``__init__`` is a room too. It re-exports names, so ``from embedge import
Embedder`` is an arrow to the room that defines ``Embedder``.

A circle is a set of rooms or modules that import each other, directly or through others. The floors are the rooms on
the longest chain of arrows.
"""

import runpy
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from read_imports import PACKAGES, PROJECT, Import, read_imports

Arrow = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ImportGraph:
    """The modules of both packages, and everything that they import.

    Attributes:
        modules: dotted names; the name of a package stands for its ``__init__``.
        imports: sorted; with those of other distributions.
    """

    modules: frozenset[str]
    imports: tuple[Import, ...]

    def rooms(self, package: str) -> frozenset[str]:
        """The direct children of a package, and the package itself for its ``__init__``."""
        return frozenset(room_of(module) for module in self.modules if package_of(module) == package)

    def arrows(self, package: str) -> frozenset[Arrow]:
        """The pairs of different rooms of a package, of which the first imports the second."""
        rooms = self.rooms(package)
        pairs = {(room_of(found.source), room_of(found.target)) for found in self.imports}
        return frozenset(pair for pair in pairs if pair[0] != pair[1] and rooms.issuperset(pair))

    def between(self, source: str, target: str) -> list[Import]:
        """The imports of one package, or of the project's entry points, from another package or distribution."""
        return [
            found for found in self.imports if (package_of(found.source), package_of(found.target)) == (source, target)
        ]

    def circles(self) -> list[frozenset[str]]:
        """The sets of modules, over both packages, in which each imports all others, directly or through others."""
        return circles({(found.source, found.target) for found in self.imports if found.target in self.modules})


def read_graph(root: Path) -> ImportGraph:
    """The graph of a checkout."""
    return ImportGraph(*read_imports(root))


def package_of(module: str) -> str:
    """The first part of a dotted name."""
    return module if module == PROJECT else module.partition(".")[0]


def room_of(module: str) -> str:
    """The first two parts of a dotted name.

    >>> room_of("embedge.bundle.manifest"), room_of("embedge.errors"), room_of("embedge")
    ('embedge.bundle', 'embedge.errors', 'embedge')
    """
    return ".".join(module.split(".")[:2])


def circles(arrows: Collection[Arrow]) -> list[frozenset[str]]:
    """The strongly connected components of two nodes or more, the largest first (Tarjan's algorithm).

    >>> [sorted(found) for found in circles([("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "c")])]
    [['c', 'd', 'e'], ['a', 'b']]
    """
    targets: dict[str, list[str]] = {}
    for source, target in sorted(arrows):
        targets.setdefault(source, []).append(target)
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    components: list[frozenset[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for target in targets.get(node, ()):
            if target not in index:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], index[target])
        if lowest[node] == index[node]:
            place = stack.index(node)
            components.append(frozenset(stack[place:]))
            del stack[place:]

    for node in targets:
        if node not in index:
            visit(node)
    return sorted((found for found in components if len(found) > 1), key=len, reverse=True)


def floors(arrows: Collection[Arrow]) -> int:
    """The number of rooms on the longest path; the rooms of a circle count as one.

    >>> floors([("a", "b"), ("b", "c"), ("a", "c"), ("c", "b")])
    2
    """
    name = {room: min(circle) for circle in circles(arrows) for room in circle}
    lower: dict[str, set[str]] = {}
    for source, target in arrows:
        one, other = name.get(source, source), name.get(target, target)
        lower.setdefault(one, set()).update({other} - {one})
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max(map(height, lower.get(room, ())), default=0)
        return heights[room]

    return max(map(height, lower), default=1)


def upward(arrows: Collection[Arrow], level: Mapping[str, int]) -> list[Arrow]:
    """The arrows whose target is not in a lower layer than their source, or of which a room is in no layer.

    >>> upward([("a", "b"), ("b", "c"), ("c", "a")], {"a": 2, "b": 1, "c": 1})
    [('b', 'c'), ('c', 'a')]
    """
    declared = level.keys()
    return sorted(
        (source, target)
        for source, target in arrows
        if not {source, target} <= declared or level[target] >= level[source]
    )


def on_circles(arrows: Collection[Arrow]) -> list[Arrow]:
    """The arrows between two rooms of one circle.

    >>> on_circles([("a", "b"), ("b", "a"), ("b", "c")])
    [('a', 'b'), ('b', 'a')]
    """
    found = circles(arrows)
    return sorted(arrow for arrow in arrows if any(circle.issuperset(arrow) for circle in found))


def main() -> None:
    """Print rooms, floors, arrows and circles of a checkout: of this one, or of ROOT."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    graph = read_graph(root)
    layers = root / "tests" / "shared" / "import_layers.py"
    level_of = runpy.run_path(str(layers))["level_of"] if layers.is_file() else None
    for package in PACKAGES:
        arrows = graph.arrows(package)
        wrong = upward(arrows, level_of(package)) if level_of else on_circles(arrows)
        against = "upward arrows" if level_of else "arrows on a circle of rooms (no layers are declared)"
        print(f"{package}: {len(graph.rooms(package))} rooms, {floors(arrows)} floors, {len(arrows)} arrows")
        print(f"  {against}: {len(wrong)}")
        for source, target in wrong:
            print(f"    {source} -> {target}")
    found = graph.circles()
    print(f"circles of files: {len(found)}")
    for circle in found:
        print(f"  {len(circle)} files: {', '.join(sorted(circle))}")
    for source in ("embedge", PROJECT):
        imports = graph.between(source, "embedge_export")
        print(f"{source} -> embedge_export: {len(imports)}")
        for found_import in imports:
            print(f"  {found_import}")


if __name__ == "__main__":
    main()
