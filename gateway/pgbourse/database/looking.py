"""The exchange that a command is about: the database of a URL, or the one in a data folder.

Who looks (check, migrate --check, top, …) makes nothing, and doesn't disturb a server that runs: it finds
its PostgreSQL by the data folder. Who only looks, but finds none running there, may run it for so long.
"""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgbourse.database.conninfo import forget_environment, parse
from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.passwords import with_password
from pgbourse.errors import PgbourseError
from pgbourse.settings import default_data_dir
from pgbourse.streams import is_full

__all__ = ["LookError", "Looked", "looking", "place_of", "rely_on", "using"]

_log = logging.getLogger("pgbourse.database")


_HINT = "name another with --data-dir (PGBOURSE_DATA_DIR), or a database with --database-url"


class LookError(PgbourseError):
    """There is nothing to look at, or it can't be looked at. What is there may or may not be sound."""

    exit_status = 2


class Looked:
    """What a command looks at: `url`, its connection string, and `place`, the words for it."""

    def __init__(self, url: str, place: str) -> None:
        self.url = url
        self.place = place
        self._began = time.monotonic()

    def tell(self, found: str) -> None:
        """Say in one line on standard error what was looked at, what was found, and how long it took."""
        sys.stderr.write(f"{self.place}: {found}, {time.monotonic() - self._began:.1f} s\n")
        sys.stderr.flush()


@contextmanager
def looking(
    database_url: str | None, password_file: Path | None, data_dir: Path, *, starts: bool = True
) -> Iterator[Looked]:
    """Give the exchange to look at until the block ends: the URL's, or the one in the data folder.

    If the folder has an exchange, but its PostgreSQL doesn't run, it runs until the block ends, unless it
    never `starts`. Nothing is made, and a server that runs is left alone.

    Raises LookError, with which the command line exits with 2, if there is nothing to look at; and in the
    place of every PgbourseError of the block, for 1 means that something was found.
    """
    try:
        rely_on(database_url)
        if database_url is not None:
            with _failing_as(place := place_of(database_url)):
                yield Looked(with_password(database_url, password_file), place)
            return
        postgres = EmbeddedPostgres(data_dir, makes=False)
        place = f"the exchange in {postgres.path}"
        if (url := _running(postgres, data_dir, starts=starts)) is not None:
            with _failing_as(place):
                yield Looked(url, place)
            return
        _log.info("no PostgreSQL runs on the data folder %s: it runs until this command ends", postgres.path)
        with _ending_on_signals(postgres), _failing_as(place):
            yield Looked(postgres.dsn(), f"{place}, whose PostgreSQL ran for this alone")
    except PgbourseError as error:
        error.exit_status = LookError.exit_status
        raise


@contextmanager
def using(database_url: str | None, password_file: Path | None, data_dir: Path) -> Iterator[str]:
    """Give the connection string of the URL's database, or of our own, made if need be, until the block ends.

    A server that runs on the data folder is used, and goes on. Raises EmbeddedError if another pgbourse has
    the folder, and its server doesn't run.
    """
    rely_on(database_url)
    if database_url is not None:
        yield with_password(database_url, password_file)
        return
    postgres = EmbeddedPostgres(data_dir)
    if postgres.is_made() and postgres.is_running():
        yield postgres.running_dsn()
        return
    with _ending_on_signals(postgres):
        yield postgres.dsn()


def rely_on(database_url: str | None) -> None:
    """Let only the database URL say which database to use, and log the variables that are ignored."""
    if (ignored := forget_environment()) and database_url is not None:
        _log.info("%s: not used, for the database URL alone says what is meant", ", ".join(ignored))


def _running(postgres: EmbeddedPostgres, data_dir: Path, *, starts: bool) -> str | None:
    """Return the connection string of the PostgreSQL that runs on the folder, or None if it may be started.

    Raises LookError or EmbeddedError.
    """
    if not postgres.is_made():
        default = ", the default data folder of this user" if data_dir == default_data_dir() else ""
        raise LookError(f"there is no exchange in {postgres.path}{default}: {_HINT}")
    if postgres.is_running():
        return postgres.running_dsn()
    if starts:
        return None
    raise LookError(
        f"no PostgreSQL runs on the data folder {postgres.path}: start `pgbourse serve`, or {_HINT}"
    )


@contextmanager
def _failing_as(place: str) -> Iterator[None]:
    """Say of each error what was looked at."""
    try:
        yield
    except PgbourseError as error:
        raise LookError(place) from error
    except OSError as error:
        if not is_full(error):
            raise
        raise LookError("can't write") from error


@contextmanager
def _ending_on_signals(postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """Run it until the block ends: neither SIGTERM nor a closed terminal may leave a PostgreSQL behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    with postgres:
        yield postgres


def place_of(database_url: str) -> str:
    """Return words for the database of a connection string, without a user or password."""
    given = parse(database_url)
    name = f"database {given['dbname']}" if given.get("dbname") else "the database"
    port = given.get("port", "").strip(",")  # one for each host
    host = given.get("host") or given.get("hostaddr") or ""
    if not host and given.get("service"):
        return f"{name} of service {given['service']}"
    if not host or host.startswith("/"):  # the folder of a socket
        return f"{name} on this machine" + (f", port {port}" if port else "")
    return f"{name} at {host}" + (f":{port}" if port else "")
