"""No test reads a private name of the package: it would fail when the inside of a module changes.

Mutants may: they break a named function on purpose. So the modules that hold them are left out, and so are
tests with `found_out` in their name and those that patch something.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = [
    path
    for path in sorted(TESTS.rglob("*.py"))
    if "mutants" not in path.stem and path.stem not in ("careless", "misleading")
]

# Public in spite of their underscore: NamedTuple's, lxml's, and one of the standard library's encodings.
PUBLIC = {"_replace", "_fields", "_asdict", "_Element", "_Comment", "_cache"}


def private_names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each private name that is read from another object or imported."""
    if isinstance(node, ast.FunctionDef) and (
        "found_out" in node.name or any(argument.arg == "monkeypatch" for argument in node.args.args)
    ):
        return
    names: list[str] = []
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgbourse"):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.Attribute) and not (
        isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    ):
        names = [node.attr]
    for name in names:
        if name.startswith("_") and not name.endswith("__") and name not in PUBLIC:
            yield getattr(node, "lineno", 0), name
    for child in ast.iter_child_nodes(node):
        yield from private_names(child)


def test_no_private_name_is_read() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line} {name}"
        for path in FILES
        for line, name in private_names(ast.parse(path.read_text()))
    ]
    assert found == []


def test_a_private_name_is_found_out() -> None:
    text = "from pgbourse.wire import framing, _a\ndef f(x): return self._b + x._c + x._replace() + x.__d__"
    assert list(private_names(ast.parse(text))) == [(1, "_a"), (2, "_c")]
