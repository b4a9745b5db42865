"""Bring a database up to date with sql/, and report where it differs.

sql/migrations/NNNN_name.sql are applied once, in order; then each sql/functions/name.sql whose text differs
from the ledger's. All but the first migration, which makes the roles, run as exchange_owner. Each file is one
transaction that writes its ledger row first, so that two runners collide there even without the advisory lock
that keeps them apart. The first one also makes the ledger.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from pgbourse import __version__
from pgbourse.database import conninfo
from pgbourse.database.ledger import (
    Connection,
    FileStatus,
    LedgerRow,
    MigrationError,
    SqlFile,
    compare,
    expected_functions,
    fetch_value,
    fingerprint,
    has_ledger,
    is_fingerprint_of,
    live_functions,
    load_files,
    read_ledger,
    renewed_fingerprints,
    sql_folder,
)
from pgbourse.database.rights import act_as, refusals_explained, refuse_foreign_roles
from pgbourse.database.session import pin_settings

__all__ = [
    "OLDEST_SERVER",
    "FileStatus",
    "MigrationError",
    "connect",
    "differences",
    "migrate",
    "pending",
    "require_current",
    "require_current_in",
    "status",
]

_log = logging.getLogger("pgbourse.migrate")

# "bourse" in ASCII: any number will do, as long as every version of pgbourse uses the same one.
_ADVISORY_LOCK = 0x626F75727365
_LOCK_TIMEOUT = "10min"  # longer than any migration of another runner should take
OLDEST_SERVER = 150000


@contextmanager
def connect(database_url: str, application_name: str = "pgbourse migrate") -> Iterator[Connection]:
    """Connect for the length of a with block: in autocommit mode, with the settings of every session of ours.

    Raises MigrationError if the database is out of reach, older than PostgreSQL 15 or not in UTF-8, and
    SettingError if the role may not change a setting that it must.
    """
    try:
        connection = conninfo.connect(database_url, application_name=application_name)
    except (conninfo.ConninfoError, psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise MigrationError(f"can't reach the database{_hint(error)}") from error
    with connection:
        if connection.info.server_version < OLDEST_SERVER:
            version = connection.info.parameter_status("server_version")
            raise MigrationError(f"the database is PostgreSQL {version}: pgbourse needs 15 to 18")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":  # without a locale, initdb chooses SQL_ASCII, where text is bytes
            hint = "create it with: template template0 encoding 'UTF8'"
            raise MigrationError(f"the encoding of the database is {encoding}: pgbourse needs UTF8; {hint}")
        try:
            pin_settings(connection)
            yield connection
        except psycopg.OperationalError as error:
            raise MigrationError("the database closed the connection") from error
        except psycopg.Error as error:
            raise MigrationError("the database refused a statement") from error


def _hint(error: Exception) -> str:
    asked = isinstance(error, psycopg.OperationalError) and error.pgconn and error.pgconn.needs_password
    return ", which asks for a password (--database-password-file, or ~/.pgpass)" if asked else ""


def migrate(database_url: str, folder: Path | None = None) -> list[str]:
    """Apply what is missing and return what was applied, as `migration 0001_…` and `function …`.

    Safe to run from several processes at once: they take turns. A file that fails leaves nothing behind and
    stops the run; those before it stay.

    Raises MigrationError if a file fails, the role lacks a right, a migration's text is not what was applied,
    the database has a migration that this version doesn't know, or a schema or role with our name is somebody
    else's.
    """
    folder = folder or sql_folder()
    files = load_files(folder)
    applied: list[str] = []
    with connect(database_url) as connection, _alone(connection):
        states = _comparison(connection, files)
        if has_ledger(connection):
            _renew_fingerprints(connection)
        else:
            refuse_foreign_roles(connection)
        wanted = _wanted(files, states)
        while wanted:
            # A function in plain SQL can't be created before those that it calls: its file waits for theirs.
            deferred: list[SqlFile] = []
            for file in wanted:
                try:
                    _apply(connection, file, folder)
                except MigrationError as error:
                    calls_missing = isinstance(error.__cause__, psycopg.errors.UndefinedFunction)
                    if file.kind == "migration" or not calls_missing or len(deferred) + 1 == len(wanted):
                        raise
                    deferred.append(file)
                    continue
                applied.append(str(file))
                _log.debug("applied %s", file)
            wanted = deferred
    if applied:
        _log.info("applied %d files of sql/; `pgbourse migrate --status` lists them", len(applied))
    return applied


def status(database_url: str, folder: Path | None = None) -> list[FileStatus]:
    """List every file of sql/, and those that only the database knows, in the order of application."""
    files = load_files(folder or sql_folder())
    with connect(database_url) as connection:
        return compare(files, _readable_ledger(connection))


def pending(database_url: str, folder: Path | None = None) -> list[SqlFile]:
    """Return the files that `migrate` would apply now, in their order. Changes nothing.

    Raises MigrationError for anything that `migrate` would refuse before it applies a file.
    """
    files = load_files(folder or sql_folder())
    with connect(database_url) as connection:
        states = _comparison(connection, files)
        if not has_ledger(connection):
            refuse_foreign_roles(connection)
    return _wanted(files, states)


def differences(database_url: str, folder: Path | None = None) -> list[str]:
    """Return a line for each difference between the database and sql/; none if they agree.

    Functions are compared by definition, owner, rights and comment with what their file left behind.
    """
    files = load_files(folder or sql_folder())
    with connect(database_url) as connection:
        ledger = _readable_ledger(connection)
        live = live_functions(connection)
    states = compare(files, ledger)
    expected = expected_functions(ledger)
    makers = {name for signature, (name, _) in expected.items() if signature in live}
    texts = {
        "pending": "has not been applied",
        "changed": "differs from the text that was applied",
        "unknown": "was applied, but this version of pgbourse has no such file",
    }
    findings = []
    for file in states:
        # An unknown function file of which nothing is left is not a difference: a migration dropped its work.
        dropped = file.state == "unknown" and file.kind == "function" and file.name not in makers
        if file.state != "applied" and not dropped:
            findings.append(f"{file} {texts[file.state]}")
    current = {file.name for file in states if file.kind == "function" and file.state == "applied"}
    for signature, (name, recorded) in sorted(expected.items()):
        if name not in current:
            continue  # the file itself is a finding already
        if signature not in live:
            findings.append(f"function {signature} is missing: something other than sql/ dropped it")
        elif not is_fingerprint_of(recorded, live[signature]):
            findings.append(f"function {signature} was changed by hand: it is not what {name}.sql made")
    unmade = sorted(live.keys() - expected.keys())
    return findings + [f"function {signature} was made by no file of sql/" for signature in unmade]


def require_current(database_url: str, files: list[SqlFile] | None = None) -> None:
    """Refuse a database that lacks one of these files (by default those of sql/) or knows a later migration.

    Needs no more right than a gateway has. Raises MigrationError naming the first such file.
    """
    with connect(database_url) as connection:
        act_as(connection, "exchange_gateway", "exchange_reader", "exchange_owner")
        require_current_in(connection, load_files(sql_folder()) if files is None else files)


def require_current_in(connection: Connection, files: list[SqlFile]) -> None:
    """Like require_current, on an existing connection."""
    expected = {(file.kind, file.name): file.checksum for file in files}
    query = "select kind, name, checksum from exchange.list_applied_files()"
    try:
        rows = connection.execute(query).fetchall()
    except (
        psycopg.errors.InvalidSchemaName,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.UndefinedFunction,
    ):
        has_ledger(connection)  # if the schema is another's, that is what to say
        raise MigrationError("the database has no exchange yet: run `pgbourse migrate` first") from None
    except psycopg.errors.InsufficientPrivilege as error:
        has_ledger(connection)
        role = connection.info.user
        raise MigrationError(
            f'role {role} lacks the rights of exchange_gateway: grant exchange_gateway to "{role}"'
        ) from error
    applied = {(kind, name): checksum for kind, name, checksum in rows}
    for kind, name in sorted(applied.keys() - expected.keys()):
        if kind == "migration":
            raise MigrationError(_newer(f"{kind} {name}"))
    for (kind, name), checksum in expected.items():
        if applied.get((kind, name)) != checksum:
            raise MigrationError(
                f"the database lacks {kind} {name} as it is here: run `pgbourse migrate` first"
            )


def _wanted(files: list[SqlFile], states: list[FileStatus]) -> list[SqlFile]:
    current = {(state.kind, state.name) for state in states if state.state == "applied"}
    return [file for file in files if (file.kind, file.name) not in current]


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the advisory lock of all migrations, waiting for another runner to finish."""
    if not fetch_value(connection, "select pg_try_advisory_lock(%s)", _ADVISORY_LOCK):
        _log.info("waiting for another migration of this database to finish")
        connection.execute(sql.SQL("set lock_timeout = {}").format(_LOCK_TIMEOUT))
        try:
            connection.execute("select pg_advisory_lock(%s)", [_ADVISORY_LOCK])
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationError(f"another migration is still not done after {_LOCK_TIMEOUT}") from error
        connection.execute("set lock_timeout = 0")
    yield
    # After an error it is not released here: the connection ends then, and the lock with it.
    connection.execute("select pg_advisory_unlock(%s)", [_ADVISORY_LOCK])


def _readable_ledger(connection: Connection) -> list[LedgerRow]:
    act_as(connection, "exchange_reader", "exchange_owner")
    with refusals_explained(connection, "reading the ledger", "exchange_reader"):
        return read_ledger(connection)


def _comparison(connection: Connection, files: list[SqlFile]) -> list[FileStatus]:
    """Return the state of each file. Raises MigrationError if none of them may be applied."""
    states = compare(files, _readable_ledger(connection))
    connection.execute("reset role")
    _refuse_strangers(states)
    return states


def _renew_fingerprints(connection: Connection) -> None:
    """Replace the MD5s that older versions left in the ledger."""
    ledger = _readable_ledger(connection)
    connection.execute("reset role")
    renewed = renewed_fingerprints(ledger, live_functions(connection))
    if not renewed:
        return
    with refusals_explained(connection, "renewing the ledger"), connection.transaction():
        connection.execute("set local role exchange_owner")
        for row_id, functions in renewed.items():
            _record_functions(connection, row_id, functions)


def _record_functions(connection: Connection, row_id: int, functions: dict[str, str]) -> None:
    connection.execute(
        "update exchange.applied_files set functions = %s::jsonb where applied_file_id = %s",
        [json.dumps(functions), row_id],
    )


def _apply(connection: Connection, file: SqlFile, folder: Path) -> None:
    try:
        with refusals_explained(connection, str(file)), connection.transaction():
            if has_ledger(connection):
                connection.execute("set local role exchange_owner")
            else:
                connection.execute("create schema exchange")
                connection.execute((folder / "ledger.sql").read_bytes())
            row_id = fetch_value(
                connection,
                "insert into exchange.applied_files (kind, name, checksum, pgbourse_version) "
                "values (%s, %s, %s, %s) returning applied_file_id",
                *(file.kind, file.name, file.checksum, __version__),
            )
            connection.execute(file.text.encode())
            connection.execute("set local role exchange_owner")  # whatever the file has left
            made = live_functions(connection, touched_only=True)
            fingerprints = {signature: fingerprint(function) for signature, function in made.items()}
            _record_functions(connection, row_id, fingerprints)
    except psycopg.Error as error:
        position = error.diag.statement_position
        line = "" if position is None else f", line {file.text.count(chr(10), 0, int(position)) + 1}"
        raise MigrationError(f"{file}{line}: nothing of it was applied{_blame(connection, error)}") from error


def _blame(connection: Connection, error: psycopg.Error) -> str:
    """Name the database's event triggers if somebody's own code has raised the error."""
    if error.diag.source_function != "exec_stmt_raise":
        return ""
    query = "select string_agg(evtname, ', ' order by evtname) from pg_event_trigger where evtenabled <> 'D'"
    triggers = fetch_value(connection, query)
    return f" (an event trigger may have refused it; there are: {triggers})" if triggers else ""


def _refuse_strangers(states: list[FileStatus]) -> None:
    for file in states:
        if file.kind == "migration" and file.state == "unknown":
            raise MigrationError(_newer(str(file)))
        if file.kind == "migration" and file.state == "changed":
            raise MigrationError(f"{file} was edited after it was applied: put it back, and write a new one")


def _newer(file: str) -> str:
    return f"the database is newer than this pgbourse {__version__}: it has {file}"
