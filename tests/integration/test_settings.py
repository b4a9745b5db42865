"""Whatever is set for a role or a database, a batch does the same and is answered in the same words."""

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgbourse.serve.calls import Caller, ConnectionGone
from tests.integration.conftest import Session

_numbers = count(1000)

# Each is another action of one client: action, account, sym, amount, limit, order (by its place, from 1).
REQUESTS = [
    ("create_account", "1", None, "1000.25", None, None),
    ("create_account", "2", None, "0.000001", None, None),
    ("create_account", "1", None, "5", None, None),
    ("grant_shares", "2", "NULL", "12.5", None, None),
    ("place_order", "2", "NULL", "-7.25", "0.1", None),
    ("place_order", "1", "NULL", "3.125", "100.000000000001", None),
    ("place_order", "1", "NULL", "1", "999999", None),
    ("query_order", "2", None, None, None, 5),
    ("query_order", "1", None, None, None, 5),
    ("cancel_order", "2", None, None, None, 5),
    ("query_order", "1", None, None, None, 6),
]

# These must not be set at all, or are set by the test itself; the last is respected (test_readonly).
_LEFT_OUT = {
    "role", "session_authorization", "is_superuser", "transaction_isolation", "transaction_read_only",
    "transaction_deferrable", "seed", "application_name", "default_transaction_read_only",
}  # fmt: skip


def candidates(connection: Session) -> Iterator[tuple[str, str]]:
    """Yield each setting that a role or a database may have, with values that it hasn't here."""
    rows = connection.execute(
        "select name, vartype, setting, enumvals, min_val, max_val, unit from pg_settings "
        "where context in ('user', 'superuser') order by name"
    ).fetchall()
    for name, kind, setting, choices, lowest, highest, unit in rows:
        if name in _LEFT_OUT or name.startswith("debug_") or name in ("ignore_system_indexes",):
            continue
        if kind == "bool":
            yield name, "off" if setting == "on" else "on"
        elif kind == "enum":
            yield from ((name, choice) for choice in choices if choice != setting)
        elif kind == "integer" and unit in ("ms", "s", "min"):
            # No session that idles could outlast a millisecond between two statements.
            yield name, highest if unit != "ms" else "50" if name.startswith("idle_") else "1"
        elif kind in ("integer", "real"):
            yield from ((name, value) for value in (lowest, highest) if value != setting)
    yield from [
        ("DateStyle", "German"), ("DateStyle", "SQL, DMY"), ("TimeZone", "Asia/Tokyo"),
        ("client_encoding", "LATIN1"), ("client_encoding", "SQL_ASCII"), ("lc_numeric", "C"),
        ("lc_messages", "C"), ("search_path", "pg_temp, public"), ("search_path", "nowhere"),
        ("default_tablespace", "nowhere"), ("default_table_access_method", "heap"),
        ("temp_tablespaces", ""), ("timezone_abbreviations", "India"), ("session_preload_libraries", ""),
        ("plpgsql.variable_conflict", "use_variable"), ("plpgsql.variable_conflict", "use_column"),
        ("plpgsql.extra_errors", "all"), ("plpgsql.extra_warnings", "all"),
        ("default_text_search_config", "simple"),
    ]  # fmt: skip


def connect(caller: Caller) -> None:
    """Connect as a worker does, which tries again: a millisecond may end even the statement that lifts it."""
    for _ in range(100):
        with suppress(ConnectionGone):
            caller.connect()
            return
    caller.connect()


def outcome(conninfo: str) -> list[tuple[object, ...]]:
    """Carry the requests out, one batch for each, and return the answers without what is new each time."""
    number = next(_numbers)
    answers: list[tuple[object, ...]] = []
    ids: dict[int, int] = {}
    with closing(Caller(conninfo, "pgbourse test")) as caller:
        connect(caller)
        for place, (action, account, sym, amount, limit, order) in enumerate(REQUESTS, 1):
            fields = [
                "1", action, f"{account}{number}", None if sym is None else f"{sym}{number}",
                amount, limit, None if order is None else str(ids[order]), None,
            ]  # fmt: skip
            request = ",".join([*(field or "" for field in fields), ""])
            for row in caller.process_batch(f'{{"({request})"}}'.encode()):
                if action == "place_order" and row.order_id is not None:
                    ids[place] = row.order_id
                # The message of a refusal may name an id.
                said = row.message and re.sub(r"\d+", "#", row.message)
                assert row.at is None or isinstance(row.at, int)
                answers.append((place, row.outcome, row.shares, row.price, row.at is None, row.code, said))
        null = caller.process_batch(b'{"(1,query_order,,,,,1,,)"}')
        answers.append(tuple(null[0]))
    return answers


def test_no_setting_changes_what_a_batch_does(database: str, connection: Session) -> None:
    right = outcome(database)
    assert len(right) >= len(REQUESTS)
    wrong = []
    tried = 0
    for name, value in candidates(connection):
        escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
        conninfo = make_conninfo(database, options=f"-c {name}={escaped}")
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            continue  # the server refuses the value
        tried += 1
        try:
            if (there := outcome(conninfo)) != right:
                differing = [pair for pair in zip(there, right, strict=False) if pair[0] != pair[1]]
                wrong.append(f"{name} = {value}: {differing[:1]}")
        except Exception as error:  # noqa: BLE001 - all of them are told
            wrong.append(f"{name} = {value}: {error!r}")
    assert tried > 100
    assert wrong == []


def test_what_a_role_may_not_set_is_refused_by_name(database: str, connection: Session) -> None:
    """A login role that is no superuser can't put right what a superuser has set for it."""
    role = sql.Identifier("pgbourse_test_set")
    connection.execute(sql.SQL("drop role if exists {}").format(role))
    connection.execute(sql.SQL("create role {} login password 'x' in role exchange_gateway").format(role))
    try:
        connection.execute(sql.SQL("alter role {} set session_replication_role = replica").format(role))
        conninfo = make_conninfo(database, user="pgbourse_test_set", password="x")
        caller = Caller(conninfo, "pgbourse test")
        with closing(caller), pytest.raises(ConnectionGone, match="session_replication_role"):
            caller.connect()
    finally:
        connection.execute(sql.SQL("drop role {}").format(role))
