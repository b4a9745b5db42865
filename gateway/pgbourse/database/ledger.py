"""Read the two sides of a migration: the files of sql/, and the ledger of a database.

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
    "fingerprint",
    "has_ledger",
    "is_fingerprint_of",
    "live_functions",
    "load_files",
    "read_ledger",
    "renewed_fingerprints",
    "sql_folder",
]

Connection = psycopg.Connection[TupleRow]
Kind = Literal["migration", "function"]
State = Literal["applied", "pending", "changed", "unknown"]

# What a fingerprint covers: everything that a function's file sets.
_FUNCTIONS = """
    select
        pg_proc.oid::regprocedure::text,
        concat_ws(
            E'\\n',
            pg_get_functiondef(pg_proc.oid),
            pg_get_userbyid(pg_proc.proowner),
            (select string_agg(item::text, ',' order by item::text) from unnest(pg_proc.proacl) as item),
            obj_description(pg_proc.oid, 'pg_proc')
        )
    from pg_catalog.pg_proc
    where pg_proc.pronamespace = to_regnamespace('exchange')
      and pg_proc.prokind in ('f', 'p', 'w')
"""
_TOUCHED_BY_THIS_TRANSACTION = " and pg_proc.xmin = pg_current_xact_id()::xid"
_MD5_DIGITS = 32  # of a fingerprint in older ledgers; SHA-256 has 64

# What has our schema's name: nothing, or somebody's schema, and whether the ledger in it is ours.
_SCHEMA = """
    select
        pg_get_userbyid(pg_namespace.nspowner) as owner,
        (
            select pg_extension.extname
            from pg_depend
            inner join pg_extension on pg_extension.oid = pg_depend.refobjid
            where pg_depend.classid = 'pg_namespace'::regclass and pg_depend.objid = pg_namespace.oid
              and pg_depend.refclassid = 'pg_extension'::regclass and pg_depend.deptype = 'e'
        ) as extension,
        pg_class.oid is not null as has_ledger,
        coalesce(pg_class.relkind = 'r' and (
            select array_agg(attname || ' ' || format_type(atttypid, atttypmod) order by attnum)
            from pg_attribute
            where attrelid = pg_class.oid and attnum > 0 and not attisdropped
        ) @> %s::text[], false) as is_ours
    from pg_namespace
    left join pg_class on pg_class.relnamespace = pg_namespace.oid and pg_class.relname = 'applied_files'
    where pg_namespace.nspname = 'exchange'
"""
_LEDGER_COLUMNS = [
    "applied_file_id integer",
    "kind text",
    "name text",
    "checksum text",
    "functions jsonb",
    "pgbourse_version text",
    "applied_by text",
    "applied_at timestamp with time zone",
]


class MigrationError(PgbourseError):
    """A database can't be reached, migrated, or served."""


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

    applied_file_id: int
    kind: Kind
    name: str
    checksum: str
    functions: dict[str, str]
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class FileStatus:
    """The state of one file in a database; `unknown` is a file that only the database has."""

    kind: Kind
    name: str
    state: State
    applied_at: datetime | None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def sql_folder() -> Path:
    """Return the folder sql/: inside the installed package, or next to it in a checkout."""
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


def has_ledger(connection: Connection) -> bool:
    """Return whether there is a ledger.

    Raises MigrationError for a schema `exchange` without one, or with somebody else's table in its place.
    """
    row = connection.execute(_SCHEMA, [_LEDGER_COLUMNS]).fetchone()
    if row is None:
        return False
    owner, extension, found, is_ours = row
    if is_ours:
        return True
    whose = f"it is part of the extension {extension}" if extension else f"it belongs to role {owner}"
    lacks = (
        "its table applied_files is another's" if found else "no exchange.applied_files tells what is in it"
    )
    raise MigrationError(
        f"the database has a schema exchange that is not pgbourse's ({whose}; {lacks}), and stays as it "
        "is: rename it (alter schema exchange rename to …), or take another database"
    )


def read_ledger(connection: Connection) -> list[LedgerRow]:
    """Return the ledger's rows, oldest first; none if there is no ledger.

    Raises MigrationError as `has_ledger` does.
    """
    if not has_ledger(connection):
        return []
    with connection.cursor(row_factory=class_row(LedgerRow)) as cursor:
        return cursor.execute(
            "select applied_file_id, kind, name, checksum, functions, applied_at from exchange.applied_files "
            "order by applied_file_id"
        ).fetchall()


def live_functions(connection: Connection, *, touched_only: bool = False) -> dict[str, str]:
    """Return, by signature, the full description of each function in the schema.

    With touched_only, only of those that this transaction has created or changed.
    """
    query = _FUNCTIONS + (_TOUCHED_BY_THIS_TRANSACTION if touched_only else "")
    return dict(connection.execute(query.encode()).fetchall())


def fingerprint(function: str) -> str:
    """Return what the ledger keeps of a function: the SHA-256 of its description, in hexadecimal."""
    return hashlib.sha256(function.encode()).hexdigest()


def is_fingerprint_of(recorded: str, function: str) -> bool:
    """Return whether a fingerprint in the ledger (an MD5 in older ones) is that of this function.

    We hash here and not in PostgreSQL, whose md5() raises where only approved algorithms are allowed.
    """
    if len(recorded) == _MD5_DIGITS:
        return recorded == hashlib.md5(function.encode(), usedforsecurity=False).hexdigest()
    return recorded == fingerprint(function)


def renewed_fingerprints(ledger: list[LedgerRow], live: dict[str, str]) -> dict[int, dict[str, str]]:
    """Return, by applied_file_id, the fingerprints of rows in which SHA-256 can replace an MD5.

    An MD5 that is not the live function's stays, so that a function changed by hand is still found.
    """
    renewed = {}
    for row in ledger:
        functions = {
            signature: fingerprint(live[signature])
            if signature in live and is_fingerprint_of(recorded, live[signature])
            else recorded
            for signature, recorded in row.functions.items()
        }
        if functions != row.functions:
            renewed[row.applied_file_id] = functions
    return renewed


def compare(files: list[SqlFile], ledger: list[LedgerRow]) -> list[FileStatus]:
    """Return the state of each file, in the order of application, and then what only the ledger knows."""
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
    """Return, by signature, the file that made each function and its latest fingerprint."""
    expected: dict[str, tuple[str, str]] = {}
    for row in ledger:
        if row.kind == "function":  # it replaces everything that the file made before
            expected = {signature: made for signature, made in expected.items() if made[0] != row.name}
        for signature, fingerprint in row.functions.items():
            maker = expected[signature][0] if row.kind == "migration" and signature in expected else row.name
            expected[signature] = (maker, fingerprint)
    return expected


def fetch_value(connection: Connection, query: str, *parameters: object) -> Any:
    """Return the first column of a query's only row, or None without one."""
    row = connection.execute(query.encode(), parameters or None).fetchone()
    return None if row is None else row[0]
