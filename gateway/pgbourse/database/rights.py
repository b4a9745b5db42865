"""The roles of an exchange: whose they are, acting as one of them, and what a refused role lacks."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from pgbourse.database.ledger import Connection, MigrationError, fetch_value

__all__ = ["act_as", "refusals_explained", "refuse_foreign_roles"]

_ROLES = ["exchange_owner", "exchange_gateway", "exchange_reader"]
_SET_OPTION_SINCE = 160000  # memberships have it; before, every member may SET ROLE

_MEMBERSHIPS = """
    select
        pg_roles.rolname,
        pg_has_role(pg_roles.oid, 'usage') as has_rights,
        pg_has_role(pg_roles.oid, %s) as may_set
    from pg_roles
    inner join unnest(%s::text[]) with ordinality as wanted (rolname, place) using (rolname)
    order by wanted.place
"""

# Roles with our names that no migration of ours has commented on, and signs that they are somebody else's.
_FOREIGN_ROLES = """
    select
        rolname,
        rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls,
        array(
            select member.rolname::text
            from pg_auth_members
            inner join pg_roles as member on member.oid = pg_auth_members.member
            where pg_auth_members.roleid = pg_roles.oid and member.rolname <> session_user
        ),
        array(
            select parent.rolname::text
            from pg_auth_members
            inner join pg_roles as parent on parent.oid = pg_auth_members.roleid
            where pg_auth_members.member = pg_roles.oid
        )
    from pg_roles
    where rolname = any(%s) and coalesce(shobj_description(oid, 'pg_authid'), '') not like '%%pgbourse%%'
    order by rolname
"""

_SITUATION = """
    select
        session_user::text,
        current_database()::text,
        (select rolsuper or rolcreaterole from pg_roles where rolname = session_user),
        (select count(*) = 3 from pg_roles where rolname = any(%s)),
        has_database_privilege(session_user, current_database(), 'create'),
        to_regnamespace('exchange') is not null,
        (select pg_has_role(session_user, oid, %s) from pg_roles where rolname = %s)
"""


def act_as(connection: Connection, *roles: str) -> None:
    """Set the first of these roles that we may become, unless we already have the rights of one of them.

    A member that inherits nothing (NOINHERIT, or granted `with inherit false`) gets a role's rights only so.
    """
    found = connection.execute(_MEMBERSHIPS, [_membership(connection), list(roles)]).fetchall()
    if any(has_rights for _, has_rights, _ in found):
        return
    for role, _, may_set in found:
        if may_set:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            return


def refuse_foreign_roles(connection: Connection) -> None:
    """Refuse roles with our names that somebody else has made for other purposes: they would own an exchange.

    Roles belong to the cluster, so they may exist before the exchange: bare ones that a DBA has made, or
    those of an exchange in another database, on which our migrations have commented.

    Raises MigrationError.
    """
    for name, has_powers, members, parents in connection.execute(_FOREIGN_ROLES, [_ROLES]).fetchall():
        if has_powers:
            what = "may log in or has powers over the cluster"
        elif members:
            what = f"has members ({', '.join(members)})"
        elif parents:
            what = f"is a member of {', '.join(parents)}"
        else:
            continue
        raise MigrationError(
            f"there is a role {name} already, which {what} and is not known to be pgbourse's: rename it "
            f"(alter role {name} rename to …), or say that it is meant: comment on role {name} is 'pgbourse'"
        )


@contextmanager
def refusals_explained(connection: Connection, purpose: str, role: str = "exchange_owner") -> Iterator[None]:
    """Turn a refusal by the database into an error that says what is missing and which statement grants it.

    `role` is the one of ours whose rights the purpose takes. Raises MigrationError.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        if error.diag.source_function == "exec_stmt_raise":
            raise  # from somebody's trigger, not from PostgreSQL
        raise MigrationError(_lacking(connection, purpose, role)) from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        reason = "its default_transaction_read_only is on"
        if fetch_value(connection, "select pg_is_in_recovery()"):
            reason = "it is a standby: name its primary"
        raise MigrationError(
            f"the database is read-only for us, and {purpose} must write: {reason}"
        ) from error


def _lacking(connection: Connection, purpose: str, needed: str) -> str:
    connection.execute("reset role")
    situation = connection.execute(_SITUATION, [_ROLES, _membership(connection), needed]).fetchone()
    assert situation is not None
    role, database, may_create_roles, have_roles, may_create, have_schema, is_member = situation
    missing = []
    if not have_roles and not may_create_roles:
        missing.append(f'alter role "{role}" createrole')
    if have_roles and not is_member:
        with_set = " with set true" if connection.info.server_version >= _SET_OPTION_SINCE else ""
        missing.append(f'grant {needed} to "{role}"{with_set}')
    if not have_schema and not may_create:
        missing.append(f'grant create on database "{database}" to "{role}"')
    cure = f": it takes a superuser, or {'; '.join(missing)}" if missing else ""
    return f"role {role} lacks a right that {purpose} needs{cure}"


def _membership(connection: Connection) -> str:
    """Return pg_has_role's word for the right to SET ROLE."""
    return "set" if connection.info.server_version >= _SET_OPTION_SINCE else "member"
