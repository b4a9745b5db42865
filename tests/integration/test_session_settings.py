"""Settings that a DBA has made for a role or a database: our sessions pin what would change their meaning."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.integrity import check_integrity
from pgbourse.database.migrate import MigrationError, connect, differences, migrate, require_current, status
from pgbourse.database.session import PINNED, SettingError, wrong_settings

Connection = psycopg.Connection[TupleRow]

ROLE = "pgbourse_test_odd"

# Where a value by the rules below would say nothing; an empty list: there is no other value on every machine.
ODD_VALUES = {
    "DateStyle": ["German", "SQL, DMY", "Postgres"],
    "IntervalStyle": ["sql_standard"],
    "TimeZone": ["Asia/Kathmandu"],
    "backtrace_functions": ["odd"],
    "client_encoding": ["LATIN1", "SQL_ASCII"],
    "createrole_self_grant": ["set, inherit"],
    "default_text_search_config": ["pg_catalog.german"],
    # Shorter ones end the session before it has said anything, or the statement that lifts them.
    "statement_timeout": ["2s"],
    "idle_session_timeout": ["2s"],
    "transaction_timeout": ["2s"],
    "plpgsql.extra_errors": ["all"],
    "plpgsql.extra_warnings": ["all"],
    "restrict_nonsystem_relation_kind": ["view, foreign-table"],
    "timezone_abbreviations": ["India"],
    "wal_consistency_checking": ["all"],
    # Each of these is refused, in a test of its own.
    "default_transaction_read_only": [],
    "dynamic_library_path": [],
    # They belong to one transaction, and can't be set for a role.
    "transaction_deferrable": [],
    "transaction_isolation": [],
    "transaction_read_only": [],
    # A server that nobody can log in to, or whose every statement fails, is beyond us; its errors name these.
    "local_preload_libraries": [],
    "max_stack_depth": [],
    "session_preload_libraries": [],
    "temp_file_limit": [],
}


@pytest.fixture
def superuser(server: str) -> Iterator[Connection]:
    """A superuser's connection; what it sets for the role ends with the test."""
    with psycopg.connect(server, autocommit=True) as connection:
        drop = sql.SQL("drop role if exists {}").format(sql.Identifier(ROLE))
        connection.execute(drop)
        create = sql.SQL("create role {} superuser login password 'odd'")
        connection.execute(create.format(sql.Identifier(ROLE)))
        yield connection
        connection.execute(drop)


def set_for_role(connection: Connection, name: str, value: str) -> None:
    place = sql.Identifier(*name.split(".")) if "." in name else sql.Identifier(name)
    connection.execute(
        sql.SQL("alter role {} set {} = {}").format(sql.Identifier(ROLE), place, sql.Literal(value))
    )


def odd_values(connection: Connection) -> dict[str, list[str]]:
    """Return values that differ from the usual one, for every setting that a role or a session may have."""
    connection.execute("do 'begin end'")  # from here on plpgsql's settings are known
    odd = {}
    for name, kind, choices, usual, least, most in connection.execute(
        "select name, vartype, enumvals, boot_val, min_val, max_val from pg_settings "
        "where context in ('user', 'superuser')"
    ).fetchall():
        if name in ODD_VALUES:
            odd[name] = ODD_VALUES[name]
        elif kind == "bool":
            odd[name] = ["off" if usual == "on" else "on"]
        elif kind == "enum":
            odd[name] = [choice for choice in choices if choice != usual]
        elif kind in ("integer", "real"):
            odd[name] = ["1"] if name.endswith("_timeout") else [least, most]
    return odd


def use_everything(database: str, empty_database: str) -> None:
    """Do all that the package does in sessions of its own, apart from serving; nothing may be wrong."""
    assert {file.state for file in status(database)} == {"applied"}
    assert differences(database) == []
    assert migrate(database) == []
    require_current(database)
    assert check_integrity(database) == []
    assert migrate(empty_database) != []
    assert differences(empty_database) == []


@pytest.mark.parametrize("choice", [0, -1])
def test_no_setting_of_a_role_is_in_the_way(
    superuser: Connection, database: str, empty_database: str, choice: int
) -> None:
    for name, values in odd_values(superuser).items():
        if values and values[choice] is not None:
            set_for_role(superuser, name, values[choice])
    role = {"user": ROLE, "password": "odd"}
    use_everything(make_conninfo(database, **role), make_conninfo(empty_database, **role))


def test_the_settings_of_a_session_of_ours_are_those_that_are_pinned(
    superuser: Connection, database: str
) -> None:
    for name, values in odd_values(superuser).items():
        if values and name in PINNED:
            set_for_role(superuser, name, "30s" if name.endswith("_timeout") else values[0])
    set_for_role(superuser, "synchronous_commit", "local")
    set_for_role(superuser, "search_path", "nowhere")
    url = make_conninfo(database, user=ROLE, password="odd", client_encoding="UTF8")
    with psycopg.connect(url, autocommit=True) as bare:
        wrong = {setting.name for setting in wrong_settings(bare)}
    # The connection string names the encoding, and there is one kind of table.
    known = {row[0] for row in superuser.execute("select name from pg_settings").fetchall()}
    right = {"client_encoding", "default_table_access_method"}
    assert wrong == (PINNED.keys() & known) - right | {"synchronous_commit"}
    with connect(url) as connection:
        assert wrong_settings(connection) == []
        assert connection.execute("show search_path").fetchone() == ('""',)


@pytest.mark.parametrize("place", ["role", "database", "role in database"])
def test_a_setting_that_only_a_superuser_may_change_is_refused_by_name(
    superuser: Connection, database: str, connection: Connection, place: str
) -> None:
    superuser.execute(sql.SQL("alter role {} nosuperuser").format(sql.Identifier(ROLE)))
    names = {"role": sql.Identifier(ROLE), "database": sql.Identifier(connection.info.dbname)}
    places = {
        "role": sql.SQL("role {role}"),
        "database": sql.SQL("database {database}"),
        "role in database": sql.SQL("role {role} in database {database}"),
    }
    alter = sql.SQL("alter {} set session_replication_role = 'replica'")
    superuser.execute(alter.format(places[place].format(**names)))
    url = make_conninfo(database, user=ROLE, password="odd")
    with pytest.raises(
        SettingError, match=r"session_replication_role is 'replica'.*has to be 'origin'"
    ) as told:
        status(url)
    cure = str(told.value).partition("let a superuser say ")[2]
    superuser.execute(cure.encode())
    require_current_or_lacks_rights(url)


def require_current_or_lacks_rights(url: str) -> None:
    with pytest.raises(MigrationError, match="lacks the rights of exchange_gateway"):
        require_current(url)


def test_a_database_that_is_set_read_only_is_read_and_not_migrated(
    superuser: Connection, database: str, empty_database: str
) -> None:
    set_for_role(superuser, "default_transaction_read_only", "on")
    role = {"user": ROLE, "password": "odd"}
    url = make_conninfo(database, **role)
    assert differences(url) == []
    assert migrate(url) == []  # there is nothing to apply
    assert check_integrity(url) == []
    with pytest.raises(MigrationError, match=r"read-only.*default_transaction_read_only"):
        migrate(make_conninfo(empty_database, **role))


def test_a_server_that_cannot_load_its_language_is_refused_by_the_settings_name(
    superuser: Connection, database: str
) -> None:
    set_for_role(superuser, "dynamic_library_path", "/nowhere")
    if superuser.info.server_version < 180000:  # where the language names its folder itself
        assert differences(make_conninfo(database, user=ROLE, password="odd")) == []
        return
    with pytest.raises(SettingError, match="dynamic_library_path"):
        differences(make_conninfo(database, user=ROLE, password="odd"))
