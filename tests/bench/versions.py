"""A version of pgbourse that serves from its own folder, with its own PostgreSQL: what is compared."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

__all__ = ["Server", "slow_flush"]

_START_SECONDS = 180.0  # under valgrind it takes long
_STOP_SECONDS = 60.0
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")

# The command line of a version, whose PostgreSQL gets more variables than the few that it leaves it.
_SERVE = """\
{first}
import {embedded} as embedded
from {cli} import main
given = embedded.environment
embedded.environment = lambda: given() | {variables}
main()
"""


class Server:
    """A `serve` of a checkout, in a temporary folder. Use it as a context manager."""

    def __init__(
        self,
        root: Path,
        arguments: list[str],
        postgres_variables: dict[str, str],
        under: Sequence[str] = (),
        first: str = "",
    ) -> None:
        """Run it `under` another program, if one is named; `first` are lines of Python that come first."""
        self._under = under
        self._first = first
        self.port = 0
        self._root = root.resolve()
        self._arguments = arguments
        self._variables = postgres_variables
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="pgbourse-compare-"))
        self._folder.chmod(0o755)  # as root, the user of PostgreSQL must be let in
        log = self._folder / "log"
        path, embedded, cli = _layout(self._root)
        program = _SERVE.format(embedded=embedded, cli=cli, variables=self._variables, first=self._first)
        data = ["--data-dir", str(self._folder / "data"), "--port", str(_free_port())]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
        environment["PYTHONPATH"] = os.pathsep.join([path, *filter(None, [environment.get("PYTHONPATH")])])
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*self._under, sys.executable, "-c", program, "serve", *data, *self._arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=environment,
            )
        end = time.monotonic() + _START_SECONDS
        while (found := _LISTENING.search(log.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > end:
                told = log.read_text()[-2000:]
                self.__exit__()
                raise SystemExit(f"{self._root} does not serve:\n{told}")
            time.sleep(0.05)
        self.port = int(found[1])
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def dsn(self) -> str:
        """Return a superuser's connection string to the server's PostgreSQL, without a database."""
        found = re.search(r"psql '(host=\S+ port=\S+ user=\S+)", (self._folder / "log").read_text())
        assert found is not None, "the log says how to look inside"
        return found[1]

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds used so far by the gateway's processes and by PostgreSQL's."""
        assert self._process is not None
        used = {"gateway": 0.0, "postgres": 0.0}
        top = psutil.Process(self._process.pid)
        for process in [top, *top.children(recursive=True)]:
            try:
                name, times = process.name(), process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            # Those of children are of processes that have ended: autovacuum's workers, for instance.
            spent = times.user + times.system + times.children_user + times.children_system
            used["postgres" if "postgres" in name else "gateway"] += spent
        return used

    def memory(self) -> int:
        """Return the bytes that the gateway's processes have in memory."""
        assert self._process is not None
        top = psutil.Process(self._process.pid)
        gateways = [one for one in [top, *top.children(recursive=True)] if "postgres" not in one.name()]
        return sum(one.memory_info().rss for one in gateways)


def slow_flush(milliseconds: float, folder: Path) -> dict[str, str]:
    """Return variables that make PostgreSQL's flushes take so much longer; the library goes to the folder."""
    library = folder / "slowflush.so"
    source = Path(__file__).with_name("slowflush.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "FLUSH_MICROSECONDS": str(round(1000 * milliseconds))}


def _layout(root: Path) -> tuple[str, str, str]:
    """Return the folder to import from, the module of the embedded PostgreSQL and that of the commands."""
    if (root / "gateway" / "pgbourse").is_dir():
        return str(root / "gateway"), "pgbourse.database.embedded", "pgbourse.cli"
    return str(root), "gateway.embedded", "gateway.cli"  # 0.1.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
