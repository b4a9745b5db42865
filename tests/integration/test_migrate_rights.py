"""Who may migrate: managed servers' roles, other people's schemas and roles, and what a refusal says."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.integrity import CheckError, check_integrity
from pgbourse.database.migrate import MigrationError, differences, migrate, pending, require_current, status
from tests.servers import temporary_folder

Connection = psycopg.Connection[TupleRow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedPostgres]:
    """A server of our own: roles belong to the whole of it."""
    with temporary_folder() as folder, EmbeddedPostgres(folder / "server") as postgres:
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute("alter system set fsync = off")
            connection.execute("select pg_reload_conf()")
        yield postgres


class Cluster:
    """The server as its superuser has it, with no roles but its own and two empty databases."""

    def __init__(self, postgres: EmbeddedPostgres, connection: Connection) -> None:
        self._postgres = postgres
        self.has_options = connection.info.server_version >= 160000  # of memberships: inherit, set
        self.execute = connection.execute

    def url(self, dbname: str = "one", role: str = "postgres") -> str:
        return make_conninfo(self._postgres.dsn(dbname), user=role)

    @contextlib.contextmanager
    def inside(self, dbname: str = "one") -> Iterator[Connection]:
        with psycopg.connect(self.url(dbname), autocommit=True) as connection:
            yield connection


@pytest.fixture
def admin(cluster: EmbeddedPostgres) -> Iterator[Cluster]:
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
        for name in ("one", "two"):
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield Cluster(cluster, connection)
        for name in ("one", "two"):
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        roles = connection.execute("select rolname from pg_roles where oid >= 16384").fetchall()
        for (role,) in roles:
            # Grants that a role has made would keep it.
            connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(role)))
        connection.execute(
            sql.SQL("drop role {}").format(sql.SQL(", ").join(sql.Identifier(role) for (role,) in roles))
            if roles
            else sql.SQL("select 1")
        )


# A schema of somebody else's.


def snapshot(connection: Connection) -> list[tuple[object, ...]]:
    """All that says whose the schema and what is in it is, and who may do what."""
    return connection.execute(
        "select nspname, nspowner::regrole::text, nspacl::text, null from pg_namespace "
        "union all select relname, relowner::regrole::text, relacl::text, relkind::text from pg_class "
        "where relnamespace = to_regnamespace('exchange') "
        "union all select rolname, rolname, null, null from pg_roles order by 1, 2"
    ).fetchall()


@pytest.mark.parametrize(
    "already_there",
    [
        "create schema exchange",
        "create schema exchange; create table exchange.rates (currency text)",
        "create schema exchange; create table exchange.applied_files (name text, applied_at timestamptz)",
        "create schema exchange; create view exchange.applied_files as select 'x' as name",
        "create schema exchange; create type exchange.applied_files as (kind text, name text)",
        "create schema exchange; create function exchange.list_applied_files() returns text language sql as "
        "'select ''x''' ",
        "create schema exchange; create extension hstore schema exchange",
    ],
)
@pytest.mark.parametrize("role", ["postgres", "app"])
def test_a_schema_of_another_application_stays_as_it_is(
    admin: Cluster, already_there: str, role: str
) -> None:
    admin.execute("create role app login createrole")
    admin.execute("grant create on database one to app")
    admin.execute("create role owner_of_rates")
    with admin.inside() as connection:
        connection.execute(already_there.encode())
        connection.execute("alter schema exchange owner to owner_of_rates")
        before = snapshot(connection)
        for refused in (migrate, pending, status, differences, require_current, check_integrity):
            with pytest.raises(
                MigrationError, match=r"a schema exchange that is not pgbourse's .*owner_of_rates"
            ):
                refused(admin.url(role=role))
        assert snapshot(connection) == before


def test_a_schema_that_an_extension_has_made_is_named_with_it(admin: Cluster) -> None:
    with admin.inside() as connection:
        connection.execute("create extension hstore")
        connection.execute("create schema exchange")
        connection.execute("alter extension hstore add schema exchange")
    with pytest.raises(MigrationError, match="it is part of the extension hstore"):
        migrate(admin.url())


# Roles of somebody else's.


@pytest.mark.parametrize(
    ("already_there", "why"),
    [
        ("create role exchange_owner login", "exchange_owner already, which may log in"),
        ("create role exchange_reader superuser", "exchange_reader already, which may log in or has powers"),
        ("create role exchange_gateway createdb", "exchange_gateway already, which may log in or has powers"),
        (
            "create role bob; create role exchange_owner role bob",
            "exchange_owner already, which has members .bob",
        ),
        (
            "create role bob; create role exchange_gateway in role bob",
            "exchange_gateway .* is a member of bob",
        ),
    ],
)
def test_a_role_of_another_application_is_not_made_an_owner(
    admin: Cluster, already_there: str, why: str
) -> None:
    admin.execute(already_there.encode())
    for refused in (migrate, pending):
        with pytest.raises(MigrationError, match=why):
            refused(admin.url())
    with admin.inside() as connection:
        assert connection.execute("select to_regnamespace('exchange')").fetchone() == (None,)
    role = already_there.rpartition("create role ")[2].split()[0]
    admin.execute(sql.SQL("comment on role {} is 'pgbourse'").format(sql.Identifier(role)))
    migrate(admin.url())


def test_bare_roles_that_a_dba_has_made_will_do(admin: Cluster) -> None:
    admin.execute("create role exchange_owner; create role exchange_gateway; create role exchange_reader")
    admin.execute("create role app login")
    admin.execute("grant create on database one to app; grant exchange_owner to app")
    migrate(admin.url(role="app"))
    assert differences(admin.url(role="app")) == []


# Who may migrate, and what is missing where one may not.


def test_a_role_that_may_create_roles_can_migrate_and_serve(admin: Cluster) -> None:
    admin.execute("create role app login createrole")
    admin.execute("grant create on database one to app")
    url = admin.url(role="app")
    migrate(url)
    assert differences(url) == []
    require_current(url)
    with psycopg.connect(url) as connection:
        connection.execute("set role exchange_gateway")
        connection.execute("select * from exchange.list_applied_files()")


@pytest.mark.parametrize(
    "membership",
    [
        "grant exchange_owner to second",
        "alter role second noinherit; grant exchange_owner to second",
        "grant exchange_owner to second with inherit false, set true",
        "grant exchange_owner to second with admin option",
    ],
)
@pytest.mark.parametrize("powers", ["createrole", "nocreaterole"])
def test_a_second_admin_where_the_roles_exist(admin: Cluster, membership: str, powers: str) -> None:
    if "set true" in membership and not admin.has_options:
        pytest.skip("before PostgreSQL 16 a role inherits or does not, whatever the membership")
    admin.execute("create role first login createrole")
    admin.execute("grant create on database one to first")
    migrate(admin.url(role="first"))
    admin.execute(f"create role second login {powers}".encode())
    admin.execute(f"grant create on database two to second; {membership}".encode())
    url = admin.url("two", "second")
    migrate(url)
    assert differences(url) == []
    assert migrate(url) == []
    assert {file.state for file in status(url)} == {"applied"}
    require_current(url)
    assert check_integrity(url) == []
    with admin.inside("two") as connection:
        strangers = connection.execute(
            "select relname from pg_class where relnamespace = 'exchange'::regnamespace "
            "and relowner <> 'exchange_owner'::regrole"
        ).fetchall()
        assert strangers == []
    # The first one's exchange can be migrated further by the second.
    with admin.inside("one") as connection:
        connection.execute("drop function exchange.list_applied_files()")
        connection.execute("delete from exchange.applied_files where name = 'list_applied_files'")
    assert migrate(admin.url("one", "second")) == ["function list_applied_files"]


def lacking(url: str) -> list[str]:
    """Return the statements that a refusal asks for."""
    with pytest.raises(
        MigrationError, match=r"lacks a right that .* needs: it takes a superuser, or "
    ) as told:
        migrate(url)
    return str(told.value).partition("a superuser, or ")[2].split("; ")


def test_a_refusal_has_the_statements_that_help(admin: Cluster) -> None:
    admin.execute("create role app login")
    statements = lacking(admin.url(role="app"))
    assert statements == ['alter role "app" createrole', 'grant create on database "one" to "app"']
    for statement in statements:
        admin.execute(statement.encode())
    migrate(admin.url(role="app"))
    admin.execute('create role "second one" login')
    statements = lacking(admin.url("two", "second one"))
    assert len(statements) == 2
    for statement in statements:
        admin.execute(statement.encode())
    migrate(admin.url("two", "second one"))


def test_a_member_that_may_not_set_the_role_is_told_so(admin: Cluster) -> None:
    migrate(admin.url("one"))
    admin.execute("create role app login")
    admin.execute("grant create on database two to app")
    if not admin.has_options:
        pytest.skip("before PostgreSQL 16 every member may set the role")
    admin.execute("grant exchange_owner to app with inherit true, set false")
    (statement,) = lacking(admin.url("two", "app"))
    admin.execute(statement.encode())
    migrate(admin.url("two", "app"))


@pytest.mark.parametrize("inherit", ["inherit", "noinherit"])
@pytest.mark.parametrize("role", ["exchange_gateway", "exchange_reader"])
def test_members_that_inherit_nothing_may_do_what_the_others_may(
    admin: Cluster, inherit: str, role: str
) -> None:
    migrate(admin.url())
    if not admin.has_options:
        admin.execute(f"create role app login {inherit}; grant {role} to app".encode())
    else:
        options = {"inherit": "inherit true", "noinherit": "inherit false, set true"}
        admin.execute(f"create role app login; grant {role} to app with {options[inherit]}".encode())
    url = admin.url(role="app")
    require_current(url)
    if role == "exchange_reader":
        assert differences(url) == []
        assert check_integrity(url) == []
        assert migrate(url) == []  # there is nothing to apply
    else:
        with pytest.raises(MigrationError, match="lacks a right that reading the ledger needs"):
            differences(url)
        with pytest.raises(CheckError, match='grant exchange_reader to "app"'):
            check_integrity(url)


def test_a_reader_that_should_write_is_told_what_it_lacks(admin: Cluster) -> None:
    migrate(admin.url())
    with admin.inside() as connection:
        connection.execute("delete from exchange.applied_files where name = 'list_applied_files'")
    admin.execute("create role app login; grant exchange_reader to app")
    (statement,) = lacking(admin.url(role="app"))
    admin.execute(statement.encode())
    assert migrate(admin.url(role="app")) == ["function list_applied_files"]


@pytest.mark.parametrize("sqlstate", ["P0001", "42501"])
def test_an_event_trigger_that_refuses_is_named(admin: Cluster, sqlstate: str) -> None:
    with admin.inside() as connection:
        connection.execute(
            "create function public.refuse() returns event_trigger language plpgsql as "
            f"$$begin raise 'not on a Friday' using errcode = '{sqlstate}'; end$$"
        )
        connection.execute(
            "create event trigger no_ddl on ddl_command_start execute function public.refuse()"
        )
    with pytest.raises(MigrationError, match=r"nothing of it was applied .*event trigger .*no_ddl") as told:
        migrate(admin.url())
    assert "not on a Friday" in str(told.value.__cause__)
    assert "lacks a right" not in str(told.value)
    with admin.inside() as connection:
        assert connection.execute("select to_regnamespace('exchange')").fetchone() == (None,)


def test_what_fails_at_first_can_be_done_by_another_later(admin: Cluster, tmp_path: Path) -> None:
    admin.execute("create role app login; grant create on database one to app")
    with pytest.raises(MigrationError, match="lacks a right"):
        migrate(admin.url(role="app"))
    with admin.inside() as connection:
        assert connection.execute("select to_regnamespace('exchange')").fetchone() == (None,)
    admin.execute("create role other login createrole; grant create on database one to other")
    migrate(admin.url(role="other"))
