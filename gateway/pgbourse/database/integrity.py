"""Ask a database whether it has kept its promises: exchange.check_integrity(), one line a finding."""

from typing import NamedTuple

import psycopg

from pgbourse.database.ledger import has_ledger
from pgbourse.database.migrate import connect
from pgbourse.database.rights import act_as
from pgbourse.errors import PgbourseError

__all__ = ["CheckError", "Checked", "check", "check_integrity"]


class CheckError(PgbourseError):
    """The database could not be checked. It may or may not be sound."""


class Checked(NamedTuple):
    """What a check has read, and a line for each violated invariant."""

    orders: int
    fills: int
    findings: list[str]


_HISTORY = "select (select count(*) from exchange.orders), (select count(*) from exchange.executions)"
_FINDINGS = "select invariant, subject, detail from exchange.check_integrity()"


def check_integrity(database_url: str) -> list[str]:
    """Return a line for each violated invariant; none if the exchange is sound. Raises what `check` does."""
    return check(database_url).findings


def check(database_url: str) -> Checked:
    """Check an exchange at one moment: what is counted is what was checked.

    Safe on a live database and on a standby. Needs the rights of exchange_reader; reads the whole history.
    Raises CheckError if the database has no exchange or the role may not read it, MigrationError if it can't
    be reached, or if its schema `exchange` is another's.
    """
    with connect(database_url, "pgbourse check") as connection:
        act_as(connection, "exchange_reader", "exchange_owner")
        try:
            with connection.transaction():
                connection.execute("set transaction isolation level repeatable read, read only")
                rows = connection.execute(_FINDINGS).fetchall()
                ((orders, fills),) = connection.execute(_HISTORY).fetchall()
        except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
            has_ledger(connection)  # if the schema is another's, that is what to say
            raise CheckError("the database has no exchange yet: run `pgbourse migrate` first") from error
        except psycopg.errors.InsufficientPrivilege as error:
            has_ledger(connection)
            role = connection.info.user
            raise CheckError(
                f'role {role} may not read the exchange: grant exchange_reader to "{role}"'
            ) from error
        except psycopg.Error as error:
            raise CheckError("the check was not finished") from error
    findings = [f"{invariant}: {subject}: {detail}" for invariant, subject, detail in rows]
    return Checked(orders, fills, findings)
