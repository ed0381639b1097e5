"""How the code of the four packages is cut: sizes of files, and who imports whom.

    python tests/structure/measure.py                     # this checkout
    python tests/structure/measure.py --root ../another   # another one
    python tests/structure/measure.py --list              # and each place that counts, as file:line

The last line is one JSON object. Lines are those that are not blank. Parameters of a function count
without ``self`` and ``cls``. A *room* is a folder of a package or a module at its top. Imports
inside functions and under ``TYPE_CHECKING`` count like others, except a package's own
``__init__.py``, which only hands its names out.

``upward``: rooms are ordered so that as few imports as possible go from a lower room to a
higher one; these few are listed. ``private``: names with a leading underscore that are imported
from a module of another folder. ``cycles``: groups of modules that import one another in a circle.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parents[2]
PACKAGES = {
    "ghostedge_runtime": "runtime/ghostedge_runtime",
    "ghostedge_convert": "convert/ghostedge_convert",
    "ghostedge_quantize": "quantize/ghostedge_quantize",
    "ghostedge": "ghostedge",
}
SMALL_FILE = 60  # lines
MANY_PARAMETERS = 5


class Place(NamedTuple):
    """A line of a file, and what is there."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Import:
    """One imported module.

    Attributes:
        source: Dotted name of the importing module.
        target: Dotted name of the imported one.
        names: What is taken from it; empty where the module itself is imported.
        line: Where.
    """

    source: str
    target: str
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Module:
    """One file.

    Attributes:
        name: Dotted.
        path: From the repository's root.
        text: Its source.
    """

    name: str
    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        """Lines that are not blank."""
        return sum(1 for line in self.text.splitlines() if line.strip())

    @property
    def is_package(self) -> bool:
        """Whether it is a folder's ``__init__.py``."""
        return self.path.endswith("__init__.py")

    @property
    def folder(self) -> str:
        """Where it lies."""
        return str(Path(self.path).parent)

    @property
    def room(self) -> str:
        """Its folder below the package, or the module at the package's top."""
        return ".".join(self.name.split(".")[:2])


def read(root: Path) -> dict[str, Module]:
    """Every module of the four packages by its dotted name.

    Raises:
        SystemExit: A package is not there.
    """
    modules = {}
    for package, folder in PACKAGES.items():
        paths = sorted((root / folder).rglob("*.py"))
        if not paths:
            raise SystemExit(f"{root} has no {folder}")
        for path in paths:
            parts = path.relative_to((root / folder).parent).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            text = path.read_text(encoding="utf-8")
            modules[name] = Module(name, str(path.relative_to(root)), text)
        assert package in modules
    return modules


def imports_of(module: Module, modules: Mapping[str, Module]) -> Iterator[Import]:
    """What it imports of the four packages; a name that is a module counts as that module."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in modules:
                    yield Import(module.name, alias.name, (), node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module in modules:
            whole = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
            for target in sorted(whole):
                yield Import(module.name, target, (), node.lineno)
            names = tuple(a.name for a in node.names if f"{node.module}.{a.name}" not in whole)
            if names:
                yield Import(module.name, node.module, names, node.lineno)


def many_parameters(module: Module, most: int = MANY_PARAMETERS) -> Iterator[Place]:
    """Functions that take more than ``most``."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            declared = node.args
            names = [a.arg for a in (*declared.posonlyargs, *declared.args, *declared.kwonlyargs)]
            names += [a.arg for a in (declared.vararg, declared.kwarg) if a is not None]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > most:
                yield Place(module.path, node.lineno, f"{node.name} takes {count}")


def private_imports(imports: list[Import], modules: Mapping[str, Module]) -> Iterator[Place]:
    """Imports of a private name, or from a private module, of another folder."""
    for edge in imports:
        source, target = modules[edge.source], modules[edge.target]
        private = [name for name in (*edge.target.split("."), *edge.names) if _is_private(name)]
        if private and source.folder != target.folder:
            yield Place(source.path, edge.line, f"{', '.join(private)} of {edge.target}")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def cycles(imports: list[Import]) -> list[list[str]]:
    """Groups of modules that import one another in a circle."""
    return entangled({(edge.source, edge.target) for edge in imports})


def upward_imports(imports: list[Import], modules: Mapping[str, Module]) -> Iterator[Place]:
    """Imports from a lower room to a higher one, in the order of rooms that has fewest of them."""
    between: dict[tuple[str, str], list[Import]] = {}
    for edge in imports:
        rooms = (modules[edge.source].room, modules[edge.target].room)
        if rooms[0] != rooms[1] and rooms[0].partition(".")[0] == rooms[1].partition(".")[0]:
            between.setdefault(rooms, []).append(edge)
    for group in entangled(set(between)):
        counts = {pair: len(edges) for pair, edges in between.items() if set(pair) <= set(group)}
        for pair in _against(group, counts):
            for edge in between[pair]:
                source = modules[edge.source]
                yield Place(source.path, edge.line, f"{pair[0]} imports {edge.target}")


def entangled(pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Groups of which each member reaches each other one along ``pairs`` of importer, imported."""
    reached: dict[str, set[str]] = {name: set() for pair in pairs for name in pair}
    for source, target in pairs:
        reached[source].add(target)
    for middle, beyond in reached.items():
        for targets in reached.values():
            if middle in targets:
                targets.update(beyond)
    groups = {
        tuple(sorted(other for other in targets if name in reached[other]))
        for name, targets in reached.items()
        if name in targets
    }
    return [list(group) for group in sorted(groups)]


def _against(rooms: list[str], counts: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """The pairs that go upward in the best order of ``rooms``.

    Every order of up to eight rooms is tried. Of more, the order is built from the top: next comes
    the room from which most more imports go to those left than come from them.
    """
    orders = [*permutations(rooms)] if len(rooms) <= 8 else [_by_lead(rooms, counts)]

    def upward(order: tuple[str, ...]) -> list[tuple[str, str]]:
        return sorted(pair for pair in counts if order.index(pair[0]) > order.index(pair[1]))

    return min(map(upward, orders), key=lambda pairs: sum(counts[pair] for pair in pairs))


def _by_lead(rooms: list[str], counts: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    remaining, order = set(rooms), []
    while remaining:
        lead = dict.fromkeys(sorted(remaining), 0)
        for (source, target), count in counts.items():
            if {source, target} <= remaining:
                lead[source] += count
                lead[target] -= count
        order.append(max(lead, key=lead.__getitem__))
        remaining.remove(order[-1])
    return tuple(order)


@dataclass(frozen=True)
class Structure:
    """What the script counts.

    Attributes:
        sizes: Path → lines of every file but the ``__init__.py``.
        packages: How many ``__init__.py`` there are.
        parameters: Functions of more than five parameters.
        private: Private names that are imported across folders.
        upward: Imports from a lower room to a higher one.
        cycles: Modules that import one another in a circle.
    """

    sizes: dict[str, int]
    packages: int
    parameters: list[Place]
    private: list[Place]
    upward: list[Place]
    cycles: list[list[str]]

    @property
    def small(self) -> dict[str, int]:
        """Files of less than 60 lines."""
        return {path: lines for path, lines in self.sizes.items() if lines < SMALL_FILE}

    def summary(self) -> dict[str, int | float]:
        """The figures."""
        return {
            "files": len(self.sizes),
            "init_files": self.packages,
            "lines": sum(self.sizes.values()),
            "median_lines": statistics.median(self.sizes.values()),
            "largest_file": max(self.sizes.values()),
            "files_under_60_lines": len(self.small),
            "functions_over_5_parameters": len(self.parameters),
            "functions_over_5_parameters_in_conversion": sum(
                place.path.startswith("ghostedge/conversion/") for place in self.parameters
            ),
            "private_imports_across_folders": len(self.private),
            "upward_imports": len(self.upward),
            "upward_imports_in_runtime": sum(
                place.path.startswith("runtime/") for place in self.upward
            ),
            "import_cycles": len(self.cycles),
        }


def measure(root: Path) -> Structure:
    """Read the four packages below ``root`` and count."""
    modules = read(root)
    inner = [module for module in modules.values() if module.name not in PACKAGES]
    imports = [edge for module in inner for edge in imports_of(module, modules)]
    return Structure(
        sizes={m.path: m.lines for m in modules.values() if not m.is_package},
        packages=sum(module.is_package for module in modules.values()),
        parameters=[place for module in inner for place in many_parameters(module)],
        private=sorted(private_imports(imports, modules)),
        upward=sorted(upward_imports(imports, modules)),
        cycles=cycles(imports),
    )


def main() -> None:
    """Print the figures, and with ``--list`` every place behind them."""
    parser = argparse.ArgumentParser(description="How the code is cut.")
    parser.add_argument("--root", type=Path, default=REPO, help="checkout to look at")
    parser.add_argument("--list", action="store_true", help="print every place that counts")
    arguments = parser.parse_args()
    structure = measure(arguments.root)
    if arguments.list:
        places: dict[str, list[object]] = {
            "files under 60 lines": [f"{path}: {n}" for path, n in structure.small.items()],
            "functions of more than 5 parameters": [*structure.parameters],
            "private names imported across folders": [*structure.private],
            "imports upward": [*structure.upward],
            "import cycles": [" → ".join(circle) for circle in structure.cycles],
        }
        for title, items in places.items():
            print(f"{title}: {len(items)}", *items, sep="\n  ")
    print(json.dumps(structure.summary()))


if __name__ == "__main__":
    main()
