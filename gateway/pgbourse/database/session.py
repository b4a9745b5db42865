"""The settings that each of our sessions must have, whatever a role, a database or a URL says.

A DBA may set nearly anything for a role or a database. What only affects speed stays as it is set. What
changes the meaning of a statement, the text of a value or the durability of a transaction is pinned here.
"""

import json
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

from pgbourse.errors import PgbourseError

__all__ = ["PINNED", "SettingError", "WrongSetting", "pin_settings", "wrong_settings"]

# Settings by name, with their values as pg_settings spells them. A server that lacks one is left alone.
PINNED = {
    # How values are written and read.
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "array_nulls": "on",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    # What a statement means, and what it may see.
    "check_function_bodies": "on",
    "default_table_access_method": "heap",
    "plpgsql.check_asserts": "on",
    "plpgsql.extra_errors": "none",
    "plpgsql.variable_conflict": "error",
    "restrict_nonsystem_relation_kind": "",
    "row_security": "on",
    "session_replication_role": "origin",
    "transform_null_equals": "off",
    # Damage must be an error, and an error must not end the session.
    "exit_on_error": "off",
    "ignore_checksum_failure": "off",
    "zero_damaged_pages": "off",
    # Warnings must reach us: one of them says that a commit did not wait for its standby.
    "client_min_messages": "warning",
    # Nothing may cut a statement short, and its transaction must be what it seems.
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "statement_timeout": "0",
    "transaction_timeout": "0",
}

_WRONG = """
    select settings.name, settings.setting, wanted.setting as wanted, settings.source
    from pg_catalog.jsonb_each_text(%s::jsonb) as wanted (name, setting)
    inner join pg_catalog.pg_settings as settings on settings.name operator(pg_catalog.=) wanted.name
    where settings.setting operator(pg_catalog.<>) wanted.setting
    union all
    select name, setting, 'on', source
    from pg_catalog.pg_settings
    where name operator(pg_catalog.=) 'synchronous_commit'
      and setting operator(pg_catalog.<>) all (array['on', 'remote_apply'])
"""
# Where a value comes from, and the statement that removes it there.
_SOURCES = {
    "database": "alter database {database} reset {name}",
    "user": "alter role {role} reset {name}",
    "database user": "alter role {role} in database {database} reset {name}",
}


class SettingError(PgbourseError):
    """A setting changes what our statements mean, and our role may not set it."""


class WrongSetting(NamedTuple):
    """A setting that differs from what we need; `source` says where it comes from, in pg_settings' words."""

    name: str
    setting: str
    wanted: str
    source: str


def wrong_settings(connection: psycopg.Connection[Any]) -> list[WrongSetting]:
    """Return a session's settings that are not what we need. Changes nothing."""
    _load_plpgsql(connection)
    with connection.cursor(row_factory=class_row(WrongSetting)) as cursor:
        return cursor.execute(_WRONG, [json.dumps(PINNED)]).fetchall()


def pin_settings(connection: psycopg.Connection[Any]) -> None:
    """Give a session in autocommit mode the settings that we need, and an empty search path.

    Raises SettingError for a setting that the role may not change, psycopg.Error if the connection fails.
    """
    # Alone and first, because they could cut short what follows.
    connection.execute("set statement_timeout = 0; set idle_session_timeout = 0")
    if connection.info.server_version >= 170000:
        connection.execute("set transaction_timeout = 0")
    connection.execute("set search_path = ''")
    for wrong in wrong_settings(connection):
        try:
            connection.execute("select set_config(%s, %s, false)", [wrong.name, wrong.wanted])
        except psycopg.errors.InsufficientPrivilege as error:
            raise SettingError(_explain(connection, wrong)) from error


def _load_plpgsql(connection: psycopg.Connection[Any]) -> None:
    """Run something in plpgsql: before that the session doesn't know the language's settings."""
    try:
        connection.execute("do 'begin end'")
    except psycopg.errors.InsufficientPrivilege:
        pass  # the role may not use the language; functions in it run if their owner may
    except psycopg.errors.UndefinedFile as error:
        raise SettingError(
            "the server can't load PL/pgSQL: has somebody set dynamic_library_path?"
        ) from error


def _explain(connection: psycopg.Connection[Any], wrong: WrongSetting) -> str:
    needed = f"{wrong.name} is {wrong.setting!r} for this session, but has to be {wrong.wanted!r}"
    if wrong.source not in _SOURCES:
        return f"{needed}, and only a superuser may change it ({wrong.source})"
    role, database = connection.info.user, connection.info.dbname
    cure = _SOURCES[wrong.source].format(role=f'"{role}"', database=f'"{database}"', name=wrong.name)
    return f"{needed}: let a superuser say {cure}"
