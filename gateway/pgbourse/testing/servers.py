"""The servers behind a test's exchange: processes that are started, ended, and started again."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from pgbourse.testing.emptying import ExchangeError

__all__ = ["Gateway", "docker", "docker_has", "kill_postgres", "last_words"]

_STOP_SECONDS = 60.0  # more than the drain and PostgreSQL's shutdown take
_BANNER = "pgbourse: listening on "

# What `docker run` writes behind the cause of its failure.
_ADVICE = re.compile(r"(See|Run) 'docker .*--help'.*")


class Gateway:
    """A `pgbourse serve` of our own. Use it as a context manager."""

    COMMAND: tuple[str, ...] = (
        sys.executable,
        "-m",
        "pgbourse.cli",
        "serve",
        "--port",
        "0",
        "--processes",
        "1",
    )

    def __init__(self, command: tuple[str, ...] = COMMAND, **settings: str) -> None:
        """Let it have these settings and none of the environment's, which are meant for another server."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("PGBOURSE_")}
        self._environment = environment | settings
        self._command = command
        # One thread starts and stops it; others read the port. While it starts they wait for this.
        self._listening = threading.Lock()
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def port(self) -> int:
        """Where it listens: another port after each start."""
        with self._listening:
            return self._port

    def start(self) -> None:
        """Return once it listens. Raises ExchangeError if it does not start."""
        with self._listening, tempfile.TemporaryFile() as log:
            # It gets a session of its own, so that Ctrl-C ends the tests first and the server after them.
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
                start_new_session=True,
            )
            assert self._process.stdout is not None
            banner = self._process.stdout.readline()
            if not banner.startswith(_BANNER):
                self._process.wait(_STOP_SECONDS)
                log.seek(0)
                said = log.read().decode(errors="replace")
                raise ExchangeError(f"the exchange does not start: {last_words(said) or banner.strip()}")
            self._port = int(banner.split()[3].rpartition(":")[2])

    def stop(self) -> None:
        """Let it answer what it has received, and end."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it at once. Its PostgreSQL goes on until it is started again."""
        self._end(kill=True)

    @contextlib.contextmanager
    def running(self) -> Iterator["Gateway"]:
        """Run it until the block ends."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def _end(self, *, kill: bool) -> None:
        process = self._process
        if process is None:
            return
        with process:
            if kill:
                process.kill()
            else:
                process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self._process = None


def kill_postgres(data_dir: Path) -> None:
    """Kill the PostgreSQL of a data folder with all its processes. Raises ExchangeError if none runs."""
    import psutil

    try:
        postmaster = psutil.Process(int((data_dir / "data" / "postmaster.pid").read_text().split()[0]))
        family = [postmaster, *postmaster.children(recursive=True)]
    except (OSError, psutil.NoSuchProcess) as error:
        raise ExchangeError("the database does not run just now") from error
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def last_words(said: str) -> str:
    """Return the last line that a program has written, but for Docker's advice to read its help."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = [line for line in lines if not _ADVICE.fullmatch(line)]
    return (words or lines or [""])[-1]


def docker(*arguments: str) -> str:
    """Run Docker's client and return what it prints. Raises ExchangeError with its words if that fails."""
    result = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ExchangeError(f"docker {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout


def docker_has(image: str) -> bool:
    """Return whether there is a Docker engine with this image. Never pulls it."""
    with contextlib.suppress(ExchangeError, FileNotFoundError):
        return bool(docker("image", "inspect", "--format", "{{.Id}}", image))
    return False
