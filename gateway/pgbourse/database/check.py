"""Ask a database whether it has kept its promises: exchange.check_integrity(), a line for each finding."""

import psycopg

from pgbourse.database.migrate import connect
from pgbourse.errors import PgbourseError

__all__ = ["CheckError", "check_integrity"]


class CheckError(PgbourseError):
    """The database could not be checked: this says nothing about whether it is sound."""


def check_integrity(database_url: str) -> list[str]:
    """Return a line for each invariant that is violated; nothing when the exchange is sound.

    Safe on a live database and on a standby; needs the rights of exchange_reader. Reads all of the history.
    Raises CheckError when the database has no exchange or the role may not read it, MigrationError when it
    can't be reached.
    """
    query = "select invariant, subject, detail from exchange.check_integrity()"
    with connect(database_url, "pgbourse check") as connection:
        try:
            rows = connection.execute(query).fetchall()
        except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName) as error:
            raise CheckError("the database has no check_integrity: run `pgbourse migrate` first") from error
        except psycopg.errors.InsufficientPrivilege as error:
            role = connection.info.user
            raise CheckError(f"role {role} may not read the exchange: grant it exchange_reader") from error
        except psycopg.Error as error:
            raise CheckError("the check was not finished") from error
    return [f"{invariant}: {subject}: {detail}" for invariant, subject, detail in rows]
