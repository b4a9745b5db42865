"""The embedded PostgreSQL's data folder: created once, held by one process at a time.

pgbourse.lock       held while a pgbourse uses the folder
pgbourse.conf       our settings, written at every start; ALTER SYSTEM wins over them
postgresql.log      PostgreSQL's log
data/               the cluster, which belongs to the user that PostgreSQL runs as
run/                the socket, for that user alone
"""

import contextlib
import fcntl
import logging
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import psycopg
from psycopg.rows import TupleRow

from pgbourse.database.binaries import Binaries, EmbeddedError, find_binaries, reachable, run_as, service_user
from pgbourse.database.lastwords import initdb_last_words

__all__ = ["LOCK_FILE", "STOP_SIGNALS", "DataFolder", "environment"]

_log = logging.getLogger("pgbourse.embedded")

_SOCKET_PATH_LIMIT = 103  # bytes: macOS; Linux has 107
LOCK_FILE = "pgbourse.lock"
# May lie in a folder without a cluster: what was begun there, and what a file system puts there.
_OURS = {LOCK_FILE, "pgbourse.conf", "postgresql.log", "data.partial", "run", "lost+found"}
_MAX_LOG_BYTES = 16 * 1024 * 1024
# Signals that end a postmaster, and for how many seconds to wait: a fast shutdown writes a checkpoint, an
# immediate one does not.
STOP_SIGNALS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))

_SETTINGS = """\
# Written by pgbourse at every start. Change settings with ALTER SYSTEM, which wins over this file.
include 'data/postgresql.conf'

# An acknowledged request has committed, and a commit survives a power failure.
fsync = on
full_page_writes = on
synchronous_commit = on

max_connections = 64            # for the gateway's workers, and some people with psql
shared_buffers = 128MB          # holds the book and the tops of the indexes; the history need not fit
max_wal_size = 2GB              # checkpoints by time rather than by volume under steady load
jit = off                       # statements of microseconds, never worth compiling
autovacuum_naptime = 10s        # the book and the credits turn over fast
log_line_prefix = '%m [%p] %q%u@%d '
"""


class DataFolder:
    """A data folder, and what PostgreSQL needs to run on it. Nothing is touched before open()."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.data = self.path / "data"
        self.log = self.path / "postgresql.log"
        self.settings = self.path / "pgbourse.conf"
        self.sockets = self.path / "run"
        self.user: pwd.struct_passwd | None = None
        self._lock: int | None = None

    def has_data(self) -> bool:
        """Return whether there is a cluster in the folder. Raises EmbeddedError if we may not look."""
        try:
            (self.data / "PG_VERSION").stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise EmbeddedError(f"can't use the data folder {self.path}") from error
        return True

    def is_served(self) -> bool:
        """Return whether a postmaster, or what is left of one, runs on the data."""
        return any(_serves(process, self.data) for process in psutil.process_iter())

    def open(self, *, makes: bool = True) -> Binaries:
        """Lock the folder, create what is missing in it, and return the binaries to run on it.

        Ends a server that a killed pgbourse left running on it. Unless it `makes` one, there must be a
        cluster.

        Raises EmbeddedError if another pgbourse has the folder, if no binaries fit it, or if initdb fails;
        OSError if the folder can't be used.
        """
        if makes:
            self._make_folder()
            if not self.has_data():
                self._require_room()
        elif not self.has_data():
            raise EmbeddedError(f"there is no exchange in {self.path}")
        self._take_lock()
        self.user = service_user(self.data)
        version = self.data / "PG_VERSION"
        major = int(version.read_text()) if version.exists() else None
        binaries = reachable(find_binaries(major), self.user, self.path)
        if major is None:
            self._make_data(binaries)
        else:
            _end_orphan(self.data)
        self._make_socket_folder()
        self.settings.write_text(_SETTINGS)
        self.settings.chmod(0o644)
        if self.log.exists() and self.log.stat().st_size > _MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))
        return binaries

    def close(self) -> None:
        """Release the folder, so that another pgbourse may have it."""
        if self.sockets.parent != self.path:
            shutil.rmtree(self.sockets, ignore_errors=True)
            self.sockets = self.path / "run"
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def end_orphan(self, killed: int) -> None:
        """Ask the server that a killed pgbourse, with this process number, has left running to shut down.

        Doesn't wait for its end. Another pgbourse that has the folder by now does all that itself. Raises
        OSError if the folder can't be used.
        """
        orphan, _ = _find_orphan(self.data)
        # In this order: whoever takes the folder starts no server before that one has ended.
        holder = (self.path / LOCK_FILE).read_text().strip()
        if orphan is None or holder != str(killed):
            return
        _log.warning("ending the PostgreSQL (pid %d) that a killed pgbourse left running", orphan.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.send_signal(STOP_SIGNALS[0][0])

    def find_server(self) -> tuple[str, int]:
        """Return the socket folder and port of the server that another process runs on the folder.

        Raises EmbeddedError if there is none.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            lines = pid_file.read_text().splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise EmbeddedError(f"can't use the data folder {self.path}") from error
        if len(lines) < 5 or not lines[4]:  # process, data, start time, port, first socket folder
            raise EmbeddedError(f"no PostgreSQL runs on the data folder {self.path}: start `pgbourse serve`")
        return lines[4], int(lines[3])

    def require_server(self, connection: psycopg.Connection[TupleRow]) -> None:
        """Make sure that our connection, a superuser's, is to the server that runs on this folder.

        Raises EmbeddedError if it is another one.
        """
        try:
            query = "select current_setting('data_directory'), system_identifier from pg_control_system()"
            answer = connection.execute(query).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            answer = None  # our own server hides nothing from us
        control_file = (self.data / "global" / "pg_control").read_bytes()
        identifier = int.from_bytes(control_file[:8], sys.byteorder)
        if answer is None or Path(answer[0]).resolve() != self.data.resolve() or answer[1] != identifier:
            found = "another" if answer is None else f"that of {answer[0]}"
            raise EmbeddedError(f"the PostgreSQL that answers is not that of {self.data}, but {found}")

    def own(self, path: Path) -> None:
        """Give a folder to the user that PostgreSQL runs as, readable by nobody else."""
        path.chmod(0o700)
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _make_folder(self) -> None:
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            # Root's server runs as another user, which must be able to reach data/ and run/ through it.
            folder.chmod(0o755 if os.geteuid() == 0 else 0o700)

    def _require_room(self) -> None:
        """Raise EmbeddedError if a cluster would be made amid somebody's files."""
        others = sorted({entry.name for entry in self.path.iterdir()} - _OURS)
        if others:
            raise EmbeddedError(
                f"{self.path} holds other things ({others[0]}) and no exchange: "
                "name an empty folder, or one to be made, with --data-dir (PGBOURSE_DATA_DIR)"
            )

    def _take_lock(self) -> None:
        lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(lock, 20).decode().strip()
            os.close(lock)
            raise EmbeddedError(
                f"data folder {self.path} is in use by another pgbourse (pid {pid})"
            ) from None
        self._lock = lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def _make_data(self, binaries: Binaries) -> None:
        """Create the cluster under another name first, so that half of one is never taken for a whole one."""
        _log.info("making a data folder for PostgreSQL %s in %s", binaries.version, self.path)
        partial = self.path / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        self.own(partial)
        command = [str(binaries.folder / "initdb"), "--pgdata", str(partial), "--username", "postgres"]
        # Nobody else can reach the socket, so it needs no password. Checksums tell a bad disk from a bug.
        command += ["--auth-local", "trust", "--auth-host", "reject", "--data-checksums"]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-instructions"]
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd="/",
            env=environment(),
            check=False,
            **run_as(self.user),
        )
        if result.returncode != 0:
            name = f" as user {self.user.pw_name}" if self.user else ""
            if self.user and "Permission denied" in result.stderr:  # in English: see environment()
                name += ", whom every folder above it must let in"
            raise EmbeddedError(f"initdb failed in {self.path}{name}: {initdb_last_words(result.stderr)}")
        partial.rename(self.data)
        os.sync()

    def _make_socket_folder(self) -> None:
        if not _fits_socket(self.sockets):
            # The user's folder for temporary files may be as long, as on macOS.
            temporary = Path(tempfile.gettempdir())
            where = temporary if _fits_socket(temporary / "pgbourse-12345678") else Path("/tmp")
            self.sockets = Path(tempfile.mkdtemp(prefix="pgbourse-", dir=where))
        self.sockets.mkdir(exist_ok=True)
        self.own(self.sockets)


def _fits_socket(folder: Path) -> bool:
    return len(os.fsencode(folder / ".s.PGSQL.5432")) <= _SOCKET_PATH_LIMIT


def environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's processes: none of our own settings, messages in English."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _end_orphan(data: Path) -> None:
    """Shut down a server that still runs on the data: we hold the lock, so its pgbourse was killed.

    Remove a postmaster.pid that has outlived all its processes: another process may have its number by now,
    and PostgreSQL could not tell that one from a postmaster.
    """
    process, is_stale = _find_orphan(data)
    if is_stale:
        (data / "postmaster.pid").unlink()
    if process is None:
        return
    _log.warning("ending the PostgreSQL (pid %d) that a killed pgbourse left running", process.pid)
    for request, seconds in STOP_SIGNALS:
        try:
            process.send_signal(request)
            process.wait(timeout=seconds)
            return
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            continue


def _find_orphan(data: Path) -> tuple[psutil.Process | None, bool]:
    """Return the postmaster that runs on the data, if there is one, and whether its file has outlived all."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return None, False
    left = {process.pid: process for process in psutil.process_iter() if _serves(process, data)}
    if not left:
        return None, True
    # Without a postmaster, its children notice that it is gone, and exit too.
    return left.get(int(pid_file.read_text().split("\n", 1)[0])), False


def _serves(process: psutil.Process, data: Path) -> bool:
    """Return whether a process is PostgreSQL's on these data, which are its working directory."""
    try:
        return process.name().startswith("postgres") and Path(process.cwd()) == data.resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
