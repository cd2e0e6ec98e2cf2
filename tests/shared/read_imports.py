"""Every import of embedge and embedge_export, read from their sources with ``ast``."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGES = {"embedge": "runtime/embedge", "embedge_export": "export/embedge_export"}
PROJECT = "pyproject.toml"  # the source of an entry point
Kind = Literal["top", "lazy", "typing", "string", "computed", "entry point"]
_ENTRY_POINT = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")  # module:attribute
_IMPORTERS = ("import_module", "__import__", "find_spec")
_Homes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One import.

    Attributes:
        source: the module that imports.
        target: the module that is imported; of another distribution as it is written, such as ``onnx.helper``; empty
            where it is computed at run time.
        kind: ``lazy`` is inside a function, ``typing`` under ``TYPE_CHECKING``, ``string`` a module's name in a string,
            ``computed`` an ``import_module`` of anything but a constant.
        line: of the source.
    """

    source: str
    target: str
    kind: Kind
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} -> {self.target or '?'} ({self.kind})"


def read_imports(root: Path) -> tuple[frozenset[str], tuple[Import, ...]]:
    """The modules of both packages of a checkout, and their imports, sorted."""
    trees = {
        _name(path.relative_to((root / folder).parent)): ast.parse(path.read_text(encoding="utf-8"))
        for folder in PACKAGES.values()
        for path in sorted((root / folder).rglob("*.py"))
    }
    packages = {
        _name(path.relative_to((root / folder).parent))
        for folder in PACKAGES.values()
        for path in (root / folder).rglob("__init__.py")
    }
    modules = frozenset(trees)
    homes = {package: dict(_homes(trees[package], package, modules)) for package in packages}
    imports = set(_entry_points(root / PROJECT))
    for source, tree in trees.items():
        reader = _Reader(source, source in packages, modules, homes)
        reader.visit(tree)
        imports |= reader.imports
    return modules, tuple(sorted(found for found in imports if found.target != found.source))


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _homes(tree: ast.Module, package: str, modules: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The names that a package's ``__init__`` re-exports, each with the module that defines it.

    They stand in imports, also lazy ones and those under ``TYPE_CHECKING``, and in tables of names and modules.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module in modules - {package}:
            yield from ((alias.asname or alias.name, node.module) for alias in node.names)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and value.value in modules:
                    yield str(key.value), str(value.value)


def _entry_points(project: Path) -> Iterator[Import]:
    """The modules that pyproject.toml names as scripts and in groups of entry points."""
    if not project.is_file():
        return
    table = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
    for group in (table.get("scripts", {}), *table.get("entry-points", {}).values()):
        for reference in group.values():
            yield Import(PROJECT, reference.partition(":")[0], "entry point", 0)


class _Reader(ast.NodeVisitor):
    """Collects the imports of one module."""

    def __init__(self, source: str, is_package: bool, modules: frozenset[str], homes: _Homes) -> None:
        self.imports: set[Import] = set()
        self._source, self._is_package, self._modules, self._homes = source, is_package, modules, homes
        self._kind: Kind = "top"

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, self._kind, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            parts = self._source.split(".")
            base = parts[: len(parts) - node.level + self._is_package]
            module = ".".join([*base, *([module] if module else [])])
        for alias in node.names:
            submodule = f"{module}.{alias.name}"
            home = self._homes.get(module, {}).get(alias.name, module)
            self._add(submodule if submodule in self._modules else home, self._kind, node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        if name in _IMPORTERS and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                self._add(str(argument.value), "string", node)
            else:
                self._add("", "computed", node)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and (reference := _ENTRY_POINT.fullmatch(node.value)):
            self._add(reference[1], "string", node)

    def visit_Dict(self, node: ast.Dict) -> None:
        self._visit_table(node.values)
        self.generic_visit(node)

    def visit_Tuple(self, node: ast.Tuple | ast.List) -> None:
        self._visit_table(node.elts)
        self.generic_visit(node)

    visit_List = visit_Tuple  # noqa: N815  # the name is ast's

    def _visit_table(self, items: list[ast.expr]) -> None:
        """A module's name counts in a table, from which code imports; a text of its own may name a logger."""
        for item in items:
            if isinstance(item, ast.Constant) and item.value in self._modules and "." in item.value:
                self._add(item.value, "string", item)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring imports nothing
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        test = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", None)
        self.visit(node.test)
        self._visit_all(node.body, "typing" if test == "TYPE_CHECKING" else self._kind)
        self._visit_all(node.orelse, self._kind)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, node.args, *([node.returns] if node.returns else [])):
            self.visit(part)
        self._visit_all(node.body, "lazy")

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  # the name is ast's

    def _visit_all(self, nodes: list[ast.stmt], kind: Kind) -> None:
        outside, self._kind = self._kind, kind
        for node in nodes:
            self.visit(node)
        self._kind = outside

    def _add(self, target: str, kind: Kind, node: ast.expr | ast.stmt) -> None:
        if target.partition(".")[0] in PACKAGES:
            while target not in self._modules and "." in target:
                target = target.rpartition(".")[0]  # the last part is an attribute
        self.imports.add(Import(self._source, target, kind, node.lineno))
