"""Read the two sides that a migration brings together: the files of sql/, and the ledger of a database.

The ledger is the table exchange.applied_files (sql/ledger.sql): a row for each application of a file, with
the fingerprints of the functions that the file left behind.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.rows import TupleRow, class_row

from pgbourse.errors import PgbourseError

__all__ = [
    "Connection",
    "FileStatus",
    "LedgerRow",
    "MigrationError",
    "SqlFile",
    "compare",
    "expected_functions",
    "fetch_value",
    "live_functions",
    "load_files",
    "read_ledger",
    "sql_folder",
]

Connection = psycopg.Connection[TupleRow]
Kind = Literal["migration", "function"]
State = Literal["applied", "pending", "changed", "unknown"]

# What is recorded of a function and compared later: all that its file sets.
_FINGERPRINTS = """
    select
        pg_proc.oid::regprocedure::text,
        md5(concat_ws(
            E'\\n',
            pg_get_functiondef(pg_proc.oid),
            pg_get_userbyid(pg_proc.proowner),
            (select string_agg(item::text, ',' order by item::text) from unnest(pg_proc.proacl) as item),
            obj_description(pg_proc.oid, 'pg_proc')
        ))
    from pg_catalog.pg_proc
    where pg_proc.pronamespace = to_regnamespace('exchange')
      and pg_proc.prokind in ('f', 'p', 'w')
"""
_TOUCHED_BY_THIS_TRANSACTION = " and pg_proc.xmin = pg_current_xact_id()::xid"


class MigrationError(PgbourseError):
    """Say why a database can't be reached, brought to what sql/ says, or served."""


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file of sql/: its name without .sql, its text and the text's SHA-256."""

    kind: Kind
    name: str
    text: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One application of a file; functions maps the signatures that it touched to their fingerprints."""

    kind: Kind
    name: str
    checksum: str
    functions: dict[str, str]
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class FileStatus:
    """Tell how one file stands in a database; `unknown` is one that the database has and sql/ has not."""

    kind: Kind
    name: str
    state: State
    applied_at: datetime | None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def sql_folder() -> Path:
    """Return where sql/ is: inside the installed package, or beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "_sql"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "sql"


def load_files(folder: Path) -> list[SqlFile]:
    """Read the migrations, by number, and then the functions, by name.

    Raises MigrationError for a migration whose name has no number of four digits, or a number used twice.
    """
    kinds: tuple[tuple[Kind, str], ...] = (("migration", "migrations"), ("function", "functions"))
    files = []
    for kind, subfolder in kinds:
        for path in sorted((folder / subfolder).glob("*.sql")):
            text = path.read_text(encoding="utf-8")
            files.append(SqlFile(kind, path.stem, text, hashlib.sha256(text.encode()).hexdigest()))
    numbers: dict[str, str] = {}
    for file in files:
        if file.kind != "migration":
            continue
        if not re.match(r"[0-9]{4}_", file.name):
            raise MigrationError(f"{file}: a migration's name begins with four digits and _")
        if (other := numbers.setdefault(file.name[:4], file.name)) != file.name:
            raise MigrationError(f"migrations {other} and {file.name} have the same number")
    if not numbers:
        raise MigrationError(f"no migrations in {folder}: the installation is incomplete")
    return files


def read_ledger(connection: Connection) -> list[LedgerRow]:
    """Return the ledger's rows, oldest first; none when there is no ledger."""
    if fetch_value(connection, "select to_regclass('exchange.applied_files')") is None:
        return []
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        return cursor.execute(
            "select kind, name, checksum, functions, applied_at from exchange.applied_files "
            "order by applied_file_id"
        ).fetchall()


def live_functions(connection: Connection, *, touched_only: bool = False) -> dict[str, str]:
    """Return the fingerprint of each function in the schema, or of those that this transaction touched."""
    query = _FINGERPRINTS + (_TOUCHED_BY_THIS_TRANSACTION if touched_only else "")
    return dict(connection.execute(query.encode()).fetchall())


def compare(files: list[SqlFile], ledger: list[LedgerRow]) -> list[FileStatus]:
    """Tell how each file stands, in the order of application, and after them what only the ledger knows."""
    newest = {(row.kind, row.name): row for row in ledger}
    states = []
    for file in files:
        row = newest.pop((file.kind, file.name), None)
        if row is None:
            states.append(FileStatus(file.kind, file.name, "pending", None))
        else:
            state: State = "applied" if row.checksum == file.checksum else "changed"
            states.append(FileStatus(file.kind, file.name, state, row.applied_at))
    states += [FileStatus(row.kind, row.name, "unknown", row.applied_at) for row in newest.values()]
    return states


def expected_functions(ledger: list[LedgerRow]) -> dict[str, tuple[str, str]]:
    """Return, by signature, the file that made each function and the fingerprint that was left last."""
    expected: dict[str, tuple[str, str]] = {}
    for row in ledger:
        if row.kind == "function":  # it replaces all that the file made before
            expected = {signature: made for signature, made in expected.items() if made[0] != row.name}
        for signature, fingerprint in row.functions.items():
            maker = expected[signature][0] if row.kind == "migration" and signature in expected else row.name
            expected[signature] = (maker, fingerprint)
    return expected


def fetch_value(connection: Connection, query: str, *parameters: object) -> Any:
    """Return the first column of a query's only row, or None without one."""
    row = connection.execute(query.encode(), parameters or None).fetchone()
    return None if row is None else row[0]
