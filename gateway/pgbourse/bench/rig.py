"""What a benchmark runs on: a PostgreSQL, databases for a single run, servers on chosen cores."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from pgbourse.database.conninfo import connect, parse
from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.temporary import temporary_data_dir
from pgbourse.errors import PgbourseError
from pgbourse.loadtest.connections import Target

__all__ = ["BenchError", "Rig", "RunningServer"]

_LISTENING = "listening on 127.0.0.1:"


class BenchError(PgbourseError):
    """The benchmark can't run on this machine, or on this database."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A `pgbourse serve` of ours."""

    target: Target
    process: psutil.Process


class Rig:
    """The PostgreSQL under test: the embedded one in a temporary folder, or one that a URL names.

    The URL's role must be allowed to create databases and migrate them. Use it as a context manager.
    """

    def __init__(self, database_url: str | None) -> None:
        self._url = database_url
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        self._postmaster: psutil.Process | None = None  # of the embedded one
        self._admin = ""
        self.folder: Path | None = None  # where the embedded one has its data
        self.version = ""  # of the server
        self.settings: dict[str, str] = {}  # of the server: those that affect speed and durability

    def __enter__(self) -> Self:
        try:
            self._admin = self._url or self._start_embedded()
            with self.connect() as connection:
                self.version = connection.info.parameter_status("server_version") or ""
                names = ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size"]
                query = "select name, current_setting(name) from unnest(%s::text[]) as name"
                rows: list[tuple[str, str]] = connection.execute(query, [names]).fetchall()
                self.settings = dict(rows)
        except psycopg.Error as error:
            self._stack.close()
            raise BenchError("can't use the database to be measured") from error
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def embedded(self) -> bool:
        """Whether the PostgreSQL is our own, on this machine."""
        return self._postmaster is not None

    def connect(self, database: str | None = None) -> psycopg.Connection[TupleRow]:
        """Connect in autocommit mode, to the database with this connection string or to the initial one."""
        return connect(database or self._admin, application_name="pgbourse bench")

    @contextlib.contextmanager
    def database(self, template: str | None = None, flush_ms: float = 0) -> Iterator[str]:
        """Create a database, empty or a copy of another one, and drop it at the end; give its conninfo.

        With `flush_ms`, a commit that flushes the log takes so much longer, and holds up those that wait for
        the same log as a slow disk would.
        """
        name = f"pgbourse_bench_{os.getpid()}_{next(self._numbers)}"
        source = parse(template)["dbname"] if template else "template0"
        create = sql.SQL("create database {} template {}").format(
            sql.Identifier(name), sql.Identifier(source)
        )
        try:
            with self.connect() as connection:
                connection.execute(create)
                if flush_ms:
                    for name_of, value in (("commit_delay", round(1000 * flush_ms)), ("commit_siblings", 0)):
                        alter = sql.SQL("alter database {} set {} = {}")
                        connection.execute(alter.format(sql.Identifier(name), sql.SQL(name_of), value))
        except psycopg.Error as error:
            raise BenchError("can't create a database to measure") from error
        try:
            yield make_conninfo("", **(parse(self._admin) | {"dbname": name}))
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def checkpoint(self) -> None:
        """Write everything out, so that the next measurement does not pay for the last one."""
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege), self.connect() as connection:
            connection.execute("checkpoint")

    @contextlib.contextmanager
    def serving(self, database: str, cores: int | None = None, options: str = "") -> Iterator[RunningServer]:
        """Run a server with these options on a database until the block ends.

        With `cores`, the server and PostgreSQL are confined to the first so many, and the load gets the
        others, if there are any.

        Raises BenchError if the server does not start.
        """
        with contextlib.ExitStack() as stack:
            release = stack.enter_context(self._on_cores(cores)) if cores is not None else None
            command = [sys.executable, "-m", "pgbourse.cli", "serve", "--port", "0", "--log-level", "warning"]
            command += options.split()
            # It gets none of the settings that are meant for another server. The connection string may hold
            # a password, which everybody could read on a command line.
            ours = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
            environment = ours | {"PGBOURSE_DATABASE_URL": database}
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            stack.callback(_end, process)
            assert process.stdout is not None
            line = process.stdout.readline()
            if _LISTENING not in line:
                raise BenchError("the server to be measured does not start; its output is above")
            port = int(line.split(_LISTENING)[1].split()[0])
            if release is not None:
                release()
            yield RunningServer(Target("127.0.0.1", port), psutil.Process(process.pid))

    def cpu_seconds(self, server: RunningServer) -> dict[str, float]:
        """Return the CPU seconds used so far by the gateway, and by PostgreSQL if it is our own."""
        used = {"gateway": _cpu(server.process)}
        if self._postmaster is not None:
            used["database"] = _cpu(self._postmaster)
        return used

    @contextlib.contextmanager
    def _on_cores(self, cores: int) -> Iterator[Callable[[], None]]:
        """Confine PostgreSQL, and what this process starts, to the first cores.

        Gives a function that moves this process to the other cores.
        """
        everywhere = sorted(os.sched_getaffinity(0))
        self._confine_database(everywhere[:cores])
        os.sched_setaffinity(0, everywhere[:cores])
        try:
            yield lambda: os.sched_setaffinity(0, everywhere[cores:] or everywhere)
        finally:
            os.sched_setaffinity(0, everywhere)
            self._confine_database(everywhere)

    def _confine_database(self, cores: list[int]) -> None:
        assert self._postmaster is not None
        for process in [self._postmaster, *self._postmaster.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.cpu_affinity(cores)

    def _start_embedded(self) -> str:
        data_dir = self._stack.enter_context(temporary_data_dir())
        postgres = self._stack.enter_context(EmbeddedPostgres(data_dir))
        self.folder = data_dir
        pid = int((data_dir / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        self._postmaster = psutil.Process(pid)
        return postgres.dsn("postgres")


def _cpu(top: psutil.Process) -> float:
    """Return the CPU seconds of a process and all below it, those that have ended included."""
    seconds = 0.0
    for process in [top, *top.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
