"""The database password from a file, which is how containers and services get their secrets.

libpq's own password file is no substitute: libpq ignores it if others may read it, as with mounted secrets.
"""

from pathlib import Path

from psycopg.conninfo import make_conninfo

from pgbourse.database.conninfo import parse
from pgbourse.errors import PgbourseError

__all__ = ["PasswordError", "with_password"]


class PasswordError(PgbourseError):
    """The password file can't be read or is empty, or the connection string already has a password."""


def with_password(conninfo: str, file: Path | None) -> str:
    """Return a connection string as libpq reads it, with the password that the file holds, if there is one.

    A newline at the file's end is not part of the password. Raises PasswordError, and ConninfoError where the
    string can't be read.
    """
    given = parse(conninfo)
    if file is None:
        return make_conninfo("", **given)
    try:
        password = file.read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeError) as error:
        raise PasswordError(f"can't read the password file {file}") from error
    if not password:
        raise PasswordError(f"the password file {file} is empty")
    if "password" in given:
        raise PasswordError("the database URL holds a password: give it there or in a file, not in both")
    return make_conninfo("", **(given | {"password": password}))
