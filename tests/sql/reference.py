"""docs/sql.md, made from the catalog of a migrated database: what \\d+ and \\df+ say, in one piece."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.sql.market import Connection

__all__ = ["render"]

# The diagrams, and what goes before them.
_INTRODUCTION = Path(__file__).with_suffix(".md")

_ROLES = """
    select rolname, shobj_description(oid, 'pg_authid')
    from pg_roles where rolname ~ '^exchange_' order by rolname
"""
_TYPES = """
    select pg_type.oid::regtype::text, obj_description(pg_type.oid, 'pg_type'),
        coalesce((select string_agg(enumlabel, ', ' order by enumsortorder) from pg_enum
        where enumtypid = pg_type.oid), format_type(nullif(typbasetype, 0), typtypmod) || ' '
        || (select pg_get_constraintdef(oid) from pg_constraint where contypid = pg_type.oid)),
        typrelid
    from pg_type left join pg_class on pg_class.oid = typrelid
    where typnamespace = 'exchange'::regnamespace and (typtype in ('e', 'd') or relkind = 'c')
    order by typname
"""
_RELATIONS = """
    select oid, relname, obj_description(oid, 'pg_class'), array_to_string(reloptions, ', '),
        pg_get_partkeydef(oid)
    from pg_class where relnamespace = 'exchange'::regnamespace and relkind = any(%s::"char"[])
        and not relispartition order by relname
"""
_COLUMNS = """
    select attname, format_type(atttypid, atttypmod), case when attnotnull then '' else 'null' end,
        case when attidentity = '' then pg_get_expr(adbin, adrelid) else 'identity' end,
        col_description(attrelid, attnum)
    from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = %s and attnum > 0 and not attisdropped order by attnum
"""
_CONSTRAINTS = """
    select conname, pg_get_constraintdef(oid) from pg_constraint
    where conrelid = %s and contype in ('p', 'u', 'c', 'f') order by strpos('puf', contype::text) = 0, conname
"""
_INDEXES = """
    select replace(pg_get_indexdef(indexrelid), ' ONLY ', ' ') from pg_index
    where indrelid = %s and not exists (select from pg_constraint where conindid = indexrelid) order by 1
"""
_FUNCTIONS = """
    select proname, pg_get_function_arguments(oid), pg_get_function_result(oid),
        obj_description(oid, 'pg_proc'),
        case
            when has_function_privilege('exchange_gateway', oid, 'execute')
                and has_function_privilege('exchange_reader', oid, 'execute') then 'gateway and reader'
            when has_function_privilege('exchange_gateway', oid, 'execute') then 'gateway'
            when has_function_privilege('exchange_reader', oid, 'execute') then 'reader'
            when prosecdef then 'owner'
            else 'internal'
        end
    from pg_proc where pronamespace = 'exchange'::regnamespace order by proname
"""

# Who may execute a function, and how the reference calls that.
_GROUPS = (
    ("gateway", "The API", "What a gateway may execute, and anybody in psql who is in `exchange_gateway`."),
    ("gateway and reader", "For gateways and readers", ""),
    ("reader", "For auditors", "What `exchange_reader` may execute."),
    ("owner", "For the DBA", "What only `exchange_owner` and a superuser may execute."),
    ("internal", "Inside", "Parts of the above, which take no locks themselves. Not to be called."),
)


def render(connection: Connection) -> str:
    """Return the whole reference."""
    return "\n".join(_lines(connection))


def _lines(connection: Connection) -> Iterator[str]:
    def fetch(query: str, *arguments: object) -> list[tuple[Any, ...]]:
        return connection.execute(query.encode(), arguments or None).fetchall()

    yield _INTRODUCTION.read_text()
    yield "## Roles\n"
    for name, comment in fetch(_ROLES):
        yield f"- `{name}`: {comment}"
    yield "\n## Tables\n"
    for oid, name, comment, options, parts in fetch(_RELATIONS, ["r", "p"]):
        yield f"### {name}\n\n{comment}\n"
        yield from _columns(fetch(_COLUMNS, oid))
        yield from (f"- `{constraint}`: `{text}`" for constraint, text in fetch(_CONSTRAINTS, oid))
        yield from (f"- `{text}`" for (text,) in fetch(_INDEXES, oid))
        if parts:
            yield f"- partitioned by `{parts}`"
        if options:
            yield f"- stored with `{options}`"
        yield ""
    yield "## Views\n"
    for oid, name, comment, *_ in fetch(_RELATIONS, ["v"]):
        yield f"### {name}\n\n{comment}\n"
        yield from _columns(
            [(column, kind, "", None, text) for column, kind, _, _, text in fetch(_COLUMNS, oid)]
        )
    yield "## Functions\n"
    functions = fetch(_FUNCTIONS)
    for group, title, text in _GROUPS:
        members = [function for function in functions if function[4] == group]
        if not members:
            continue
        yield f"### {title}\n" + (f"\n{text}\n" if text else "")
        for name, arguments, result, comment, _ in members:
            yield f"#### {name}\n\n```sql\n{name}({arguments})\nreturns {result}\n```\n\n{comment}\n"
    yield "## Sequences and types\n"
    for _, name, comment, *_ in fetch(_RELATIONS, ["S"]):
        if comment:  # an identity column's own sequence has none
            yield f"- `{name}`: {comment}"
    for name, comment, labels, relation in fetch(_TYPES):
        yield f"- `{name}`: {comment}" + (f" ({labels})" if labels else "")
        if relation:
            yield from (f"    - `{column}`: {text}" for column, _, _, _, text in fetch(_COLUMNS, relation))
    yield ""


def _columns(columns: list[tuple[Any, ...]]) -> Iterator[str]:
    yield "| column | type | |"
    yield "|---|---|---|"
    for name, kind, null, default, comment in columns:
        extra = " ".join(
            filter(None, (null, f"default {default}" if default and default != "identity" else default))
        )
        text = comment.replace("|", "\\|").replace("<create>", "`<create>`")
        yield f"| {name} | {kind}{' ' + extra if extra else ''} | {text} |"
    yield ""
