"""Assemble a server and run it: port, PostgreSQL, schema, gateway; then take it apart in reverse order."""

import contextlib
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg

from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate, require_current
from pgbourse.database.opsaddress import left_address
from pgbourse.database.passwords import with_password
from pgbourse.errors import PgbourseError
from pgbourse.serve.calls import Caller, DatabaseError, ReadOnly
from pgbourse.serve.certificates import warn_of_expiry
from pgbourse.serve.family import Family
from pgbourse.serve.housekeeping import Sweeper
from pgbourse.serve.interpreter import set_up_interpreter
from pgbourse.serve.listener import listen
from pgbourse.serve.notify import notify
from pgbourse.serve.server import Server
from pgbourse.serve.sessions import SharedPool
from pgbourse.serve.signals import Signals
from pgbourse.settings import ServeSettings
from pgbourse.tls import server_context

__all__ = ["StartError", "allow_open_files", "serve"]


_log = logging.getLogger("pgbourse.service")

_OTHER_FILES = 100  # open files besides clients: database connections, log, libraries


class StartError(PgbourseError):
    """The gateway's role lacks the rights to serve this database."""


def serve(settings: ServeSettings) -> int:
    """Serve until a signal, or until our terminal is closed; return the exit status.

    The status is 0 if everything received was answered. Prints one line on standard output once clients are
    served. Call it from the main thread.

    Raises a PgbourseError if the port is taken, the database is out of reach, too old or newer than this
    gateway, or its role lacks a right; and if a second signal says not to wait for the drain.
    """
    # Report files that can't be used before anything is started; the server reads them again.
    server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    warn_of_expiry(settings)
    # The port comes first, so that a second server doesn't touch the data folder of the first. Clients that
    # connect from now on wait.
    settings = _within_open_files(settings)
    set_up_interpreter()
    with Signals() as signals, contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listen(settings.host, settings.port)))
        http_listener = None
        if settings.http_port is not None:
            http_listener = listen(settings.http_host, settings.http_port, "--http-port")
            stack.enter_context(contextlib.closing(http_listener))
        conninfo, version, postgres = stack.enter_context(_database(settings))
        server: Server | Family
        if settings.processes == 1:
            server = Server(listener, conninfo, settings)
        else:
            server = Family(listener, conninfo, settings)
            stack.callback(server.close)
        # One connection for the sweep, one for readiness and metrics, one while somebody looks at the page.
        pool = stack.enter_context(SharedPool(conninfo, 1 if http_listener is None else 3))
        sweeper = Sweeper(pool, settings.sweep_seconds, keep_updates=settings.keep_updates)
        signals.drain = server.stop
        signals.reload = server.reload_certificates
        server.start()
        sweeper.start()
        if http_listener is not None:
            failure = str if postgres is None else postgres.failure
            stack.callback(
                _start_http(http_listener, server, pool, version, sweeper, failure, settings.page_viewers)
            )
            if postgres is not None:
                stack.enter_context(left_address(settings.data_dir, *http_listener.getsockname()[:2]))
        _announce(f"listening on {_where(server.address)} (PostgreSQL {version})", settings)
        notify("READY=1")
        answered = server.join()
        sweeper.stop()
        if answered:
            _log.info("stopped: all that was received has been answered")
        else:
            _log.warning("stopped in the middle of work: some clients got no reply")
        return 0 if answered else 1


def _announce(text: str, settings: ServeSettings) -> None:
    """Announce on standard output that clients are served; with JSON logs, in a log line."""
    if settings.log_format == "json":
        _log.info("%s", text)
        return
    sys.stdout.write(f"pgbourse: {text}\n")
    sys.stdout.flush()


def _where(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _start_http(
    listener: socket.socket,
    server: Server | Family,
    pool: SharedPool,
    version: str,
    sweeper: Sweeper,
    failure: Callable[[], str],
    viewers: int,
) -> Callable[[], None]:
    """Start to serve the page, metrics and health checks; return a function that stops it."""
    from pgbourse.serve.health import HealthServer  # imported only if there is such a port

    pids = server.pids if isinstance(server, Family) else None
    number = version.split(",")[0]
    health = HealthServer(listener, server, pool, number, pids, lambda: sweeper.fired, viewers, failure)
    health.start()
    where = _where(health.address)
    if viewers:
        _log.info("the page is on http://%s/", where)
    _log.info("metrics on http://%s/metrics", where)
    return health.stop


def allow_open_files(connections: int) -> int:
    """Raise the limit of open files to what so many connections need, as far as we may.

    Returns how many files may be open; at least as many as needed, unless less is allowed.
    """
    needed = connections + _OTHER_FILES
    if sys.platform == "win32":
        return needed
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def _within_open_files(settings: ServeSettings) -> ServeSettings:
    """Return the settings with so few clients that files are left for the database. The log says so."""
    wanted = settings.max_connections + settings.page_viewers
    files = allow_open_files(wanted)
    if files >= wanted + _OTHER_FILES:
        return settings
    room = max(files - _OTHER_FILES, files // 2)
    viewers = min(settings.page_viewers, room // 4)
    most = min(settings.max_connections, (room - viewers) * settings.processes)
    _log.warning("only %d files can be open (ulimit -n): %d connections at most", files, most)
    return replace(settings, max_connections=most, page_viewers=viewers)


@contextlib.contextmanager
def _database(settings: ServeSettings) -> Iterator[tuple[str, str, EmbeddedPostgres | None]]:
    """Prepare the database and give its connection string, its version and, if embedded, the server.

    It runs until the block ends.
    """
    with contextlib.ExitStack() as stack:
        conninfo, note, postgres = settings.database_url, "", None
        if conninfo is None:
            postgres = stack.enter_context(EmbeddedPostgres(settings.data_dir))
            conninfo, note = postgres.dsn(), ", embedded"
        else:
            conninfo = with_password(conninfo, settings.database_password_file)
        if settings.migrate:
            migrate(conninfo)
        require_current(conninfo)
        yield conninfo, _try_out(conninfo) + note, postgres


def _try_out(conninfo: str) -> str:
    """Do once what every worker will do, and return the server's version.

    Raises StartError if the role may not.
    """
    caller = Caller(conninfo, "pgbourse start")
    try:
        caller.connect()
        with contextlib.suppress(ReadOnly):  # of a database that takes no writes for now
            caller.process_batch(b"{}")
        return caller.version
    except DatabaseError as error:
        hint = ""
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            hint = (
                "; its role must be a member of exchange_gateway that may set it (grant exchange_gateway to "
                "it, from PostgreSQL 16 on with set true)"
            )
        raise StartError(f"the gateway can't use the database{hint}") from error
    finally:
        caller.close()
