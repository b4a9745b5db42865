"""The reader in psql has \\d+ and \\df+, not the repository: everything has a comment."""

from tests.sql.market import Connection

UNEXPLAINED = """
select format('schema %s', nspname)
from pg_namespace
where nspname = 'exchange' and obj_description(oid, 'pg_namespace') is null
union all
select format('role %s', rolname)
from pg_authid
where rolname like 'exchange\\_%' and shobj_description(oid, 'pg_authid') is null
union all
select format('function %s', oid::regprocedure)
from pg_proc
where pronamespace = 'exchange'::regnamespace and obj_description(oid, 'pg_proc') is null
union all
select format('relation %s', oid::regclass)
from pg_class
where
    relnamespace = 'exchange'::regnamespace
    and relkind in ('r', 'p', 'v', 'm', 'S', 'c', 'f')
    and obj_description(oid, 'pg_class') is null
    -- A composite type is explained as a type, an identity column's sequence by the column.
    and obj_description(reltype, 'pg_type') is null
    and not exists (
        select from pg_depend
        where relkind = 'S' and objid = pg_class.oid and classid = 'pg_class'::regclass and deptype = 'i'
    )
union all
-- A partition's columns are those of the table that it is part of.
select format('column %s.%s', attrelid::regclass, attname)
from pg_attribute
inner join pg_class on pg_class.oid = attrelid
where
    relnamespace = 'exchange'::regnamespace
    and relkind in ('r', 'p', 'v', 'm', 'c', 'f')
    and not relispartition
    and attnum > 0
    and not attisdropped
    and col_description(attrelid, attnum) is null
union all
select format('type %s', oid::regtype)
from pg_type
where
    typnamespace = 'exchange'::regnamespace
    and typtype in ('e', 'd', 'r')
    and obj_description(oid, 'pg_type') is null
"""


def test_everything_has_a_comment(connection: Connection) -> None:
    assert connection.execute(UNEXPLAINED).fetchall() == []


def test_what_has_none_is_found(connection: Connection) -> None:
    connection.execute(
        """
        create table exchange.a (b integer generated always as identity);
        create view exchange.c as select 1 as d;
        create type exchange.e as enum ('x');
        create type exchange.f as (g integer);
        create sequence exchange.h;
        create function exchange.i() returns integer language sql as 'select 1';
        create domain exchange.j as integer;
        comment on schema exchange is null;
        comment on column exchange.balances.cash is null;
        """
    )
    assert {text for (text,) in connection.execute(UNEXPLAINED).fetchall()} == {
        "schema exchange",
        "relation exchange.a",
        "column exchange.a.b",
        "relation exchange.c",
        "column exchange.c.d",
        "type exchange.e",
        "relation exchange.f",
        "column exchange.f.g",
        "relation exchange.h",
        "function exchange.i()",
        "type exchange.j",
        "column exchange.balances.cash",
    }
