"""docs/sql.md says what the catalog says. `make docs` writes it anew."""

import os
from pathlib import Path

from tests.sql.market import Connection
from tests.sql.reference import render

REFERENCE = Path(__file__).parents[2] / "docs" / "sql.md"


def test_the_reference_is_up_to_date(connection: Connection) -> None:
    text = render(connection)
    if os.environ.get("PGBOURSE_WRITE_DOCS"):
        REFERENCE.write_text(text)
    assert text == REFERENCE.read_text(), "docs/sql.md is stale: run `make docs`"


def test_the_diagram_has_every_table(connection: Connection) -> None:
    diagram = render(connection).split("## The order of locks")[0]
    tables = connection.execute(
        "select relname from pg_class where relnamespace = 'exchange'::regnamespace "
        "and relkind in ('r', 'p') and not relispartition"
    ).fetchall()
    assert [table for (table,) in tables if table not in diagram] == []


def test_every_role_type_and_sequence_has_a_comment(connection: Connection) -> None:
    bare = connection.execute(
        "select rolname from pg_roles where rolname ~ '^exchange_' "
        "and shobj_description(oid, 'pg_authid') is null "
        "union all select nspname from pg_namespace where nspname = 'exchange' "
        "and obj_description(oid, 'pg_namespace') is null "
        "union all select typname from pg_type left join pg_class on pg_class.oid = typrelid "
        "where typnamespace = 'exchange'::regnamespace and (typtype in ('e', 'd') or relkind = 'c') "
        "and obj_description(pg_type.oid, 'pg_type') is null "
        "union all select relname from pg_class "
        "where relnamespace = 'exchange'::regnamespace and relkind = 'S' "
        "and obj_description(oid, 'pg_class') is null "
        "and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'i')"
    ).fetchall()
    assert bare == []
