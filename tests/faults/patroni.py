"""A highly available PostgreSQL on this machine: three servers that Patroni manages, and etcd to decide.

Nothing is simulated: etcd is Debian's, Patroni is PyPI's, and the settings are those that
docs/high-availability.md recommends, read from that page.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from pgbourse.database.binaries import find_binaries, reachable, run_as, service_user
from pgbourse.database.datafolder import environment
from tests.faults.cluster import Session
from tests.integration.client import wait_until

__all__ = ["HighlyAvailable", "Machine", "missing", "recommended_setting"]

_ROOT: Final = Path(__file__).parents[2]
_DATABASE: Final = "pgbourse"
_MEMBERS: Final = 3  # of etcd and of PostgreSQL
_ALLOWED: Final = 10.0  # seconds for one answer of a Patroni


def missing() -> str | None:
    """Return why the real things can't run here, or None if they can."""
    if importlib.util.find_spec("patroni") is None:
        return "no Patroni: pip install 'pgbourse[soak]'"
    if shutil.which("etcd") is None:
        return "no etcd: apt-get install etcd-server"
    if _python() is None:
        return f"PostgreSQL's user may not run {sys.executable}, nor is there another Python of its version"
    return None


def recommended_setting(name: str) -> float:
    """Return a number among the settings that docs/high-availability.md recommends."""
    match = re.search(rf"^{name}: ([0-9.]+)", _recommended_settings(), re.MULTILINE)
    assert match is not None, f"docs/high-availability.md recommends no {name}"
    return float(match[1])


def _recommended_settings() -> str:
    """Return the settings that docs/high-availability.md gives to `patronictl edit-config`."""
    page = (_ROOT / "docs/high-availability.md").read_text()
    match = re.search(r"```yaml\n# patronictl edit-config\n(.*?)```", page, re.DOTALL)
    assert match is not None, "docs/high-availability.md has no settings for patronictl edit-config"
    return match[1]


class Machine:
    """A machine of the cluster: a Patroni and the PostgreSQL that it runs, which die or freeze together."""

    def __init__(
        self, name: str, folder: Path, ports: tuple[int, int], start: Callable[[], psutil.Popen]
    ) -> None:
        self.name = name
        self.port, self.rest_port = ports
        self.data = folder / "data"
        self._start = start
        self._patroni: psutil.Popen | None = None

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL, and return at once."""
        self._patroni = self._start()

    def lose(self) -> None:
        """Kill Patroni and every process of PostgreSQL, as if the machine had lost its power."""
        if self._patroni is None:
            return
        self._patroni.kill()
        self._patroni.wait()
        self._patroni = None
        self.kill_postgres()

    def kill_postgres(self) -> None:
        """Kill every process of PostgreSQL, and leave Patroni alone."""
        processes = self._suspend()
        for process in processes:
            process.kill()
        _, left = psutil.wait_procs(processes, timeout=30)
        assert not left

    def freeze(self) -> None:
        """Stop every process of PostgreSQL. Its kernel goes on to acknowledge what is sent to it."""
        self._suspend()

    def thaw(self) -> None:
        """Let the processes of PostgreSQL go on."""
        for process in self._postgres():
            process.resume()

    def roles(self) -> dict[str, str]:
        """Return what each machine is: leader, sync_standby or replica, as Patroni reads it in etcd."""
        try:
            with self._open("cluster") as answer:
                return {member["name"]: member["role"] for member in json.load(answer)["members"]}
        except OSError:
            return {}

    def failsafe_is_active(self) -> bool:
        """Tell whether this Patroni goes on without etcd."""
        return bool(self._ask().get("failsafe_mode_is_active"))

    def etcd_seen_at(self) -> float:
        """Return when this Patroni last had an answer of etcd, in seconds since 1970."""
        return float(self._ask().get("dcs_last_seen", 0))

    def configure(self, **settings: object) -> None:
        """Change settings of the whole cluster, as `patronictl edit-config` does."""
        with self._open("config", settings):
            pass

    def _ask(self) -> dict[str, Any]:
        """Return what this Patroni tells of itself; nothing if it does not answer."""
        try:
            with self._open("patroni") as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:  # 503: the same, of a PostgreSQL that does not run
            with error:
                return dict(json.load(error))
        except OSError:
            return {}

    def _open(self, path: str, patch: dict[str, object] | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}/{path}")
        if patch is not None:
            request.method, request.data = "PATCH", json.dumps(patch).encode()
        return urllib.request.urlopen(request, timeout=_ALLOWED)

    def _suspend(self) -> list[psutil.Process]:
        """Suspend the postmaster first, so that it starts no more processes, then all of them."""
        processes = self._postgres()
        for process in processes:
            process.suspend()
        late = [process for process in self._postgres() if process not in processes]
        for process in late:
            process.suspend()
        return processes + late

    def _postgres(self) -> list[psutil.Process]:
        """Return PostgreSQL's processes, the postmaster first."""
        try:
            postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split("\n", 1)[0]))
            if Path(postmaster.cwd()) != self.data:
                return []  # a number that was left behind
            return [postmaster, *postmaster.children(recursive=True)]
        except (FileNotFoundError, psutil.NoSuchProcess):
            return []


class HighlyAvailable:
    """Three machines and three members of etcd, all on 127.0.0.1. Use it in a with block."""

    def __init__(self, folder: Path) -> None:
        """Prepare everything in `folder`, which the user of PostgreSQL must be able to enter."""
        self._folder = folder
        self._user = service_user(folder)
        self._binaries = reachable(find_binaries(None), self._user, folder)
        self._etcd_ports = [_free_ports() for _ in range(_MEMBERS)]
        self._etcd: list[psutil.Popen] = []
        self.machines = [self._machine(f"db{number + 1}") for number in range(_MEMBERS)]
        self._stack = ExitStack()

    def __enter__(self) -> HighlyAvailable:
        with ExitStack() as stack:
            stack.callback(self._end)
            self._etcd = [self._start_etcd(number) for number in range(_MEMBERS)]
            for machine in self.machines:
                machine.start()
            self.wait_until_whole()
            with psycopg.connect(self.conninfo("postgres"), autocommit=True) as session:
                session.execute(f"create database {_DATABASE}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def conninfo(self, dbname: str = _DATABASE) -> str:
        """Return a superuser's connection string that names all machines and asks for the primary."""
        return make_conninfo(
            host=",".join(["127.0.0.1"] * _MEMBERS),
            port=",".join(str(machine.port) for machine in self.machines),
            user="postgres",
            dbname=dbname,
            target_session_attrs="read-write",
            connect_timeout=2,
        )

    def connect(self) -> Session:
        """Open a superuser's session on the primary, in autocommit mode."""
        return psycopg.connect(self.conninfo(), autocommit=True)

    def primary(self) -> Machine:
        """Return the machine that takes writes; raises psycopg.OperationalError if none does."""
        with psycopg.connect(self.conninfo("postgres")) as session:
            port = session.info.port
        return next(machine for machine in self.machines if machine.port == port)

    def writable(self) -> bool:
        """Tell whether a machine takes writes."""
        try:
            self.primary()
        except psycopg.OperationalError:
            return False
        return True

    def wait_until_whole(self) -> None:
        """Return once there are a primary, a standby that Patroni may promote, and a further standby.

        A standby that PostgreSQL calls synchronous may not be known to Patroni as one yet.
        """
        wait_until(self._is_whole, "the cluster has a primary, a synchronous standby and another one")

    def _is_whole(self) -> bool:
        if any(
            sorted(machine.roles().values()) != ["leader", "replica", "sync_standby"]
            for machine in self.machines
        ):
            return False
        query = "select sync_state from pg_stat_replication where state = 'streaming' order by sync_state"
        try:
            with psycopg.connect(self.conninfo("postgres")) as session:
                return session.execute(query).fetchall() == [("async",), ("sync",)]
        except psycopg.OperationalError:
            return False

    def freeze_etcd(self, members: int = _MEMBERS) -> None:
        """Stop so many members of etcd: one is a loss that it gets over, two are not."""
        for process in self._etcd[:members]:
            process.suspend()

    def thaw_etcd(self) -> None:
        """Let all members of etcd go on."""
        for process in self._etcd:
            process.resume()

    def use_failsafe_mode(self, enabled: bool) -> None:
        """Switch failsafe_mode on or off, and return when every Patroni has read that in etcd."""
        self.machines[0].configure(failsafe_mode=enabled)
        switched_at = time.time()
        wait_until(
            lambda: all(machine.etcd_seen_at() > switched_at for machine in self.machines),
            f"every Patroni knows that failsafe_mode is {enabled}",
        )

    def logs(self) -> str:
        """Return the last lines of every log, for a test that fails."""
        return "\n".join(
            f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted(self._folder.glob("*.log"))
        )

    def _machine(self, name: str) -> Machine:
        folder = self._folder / name
        self._own(folder)
        port, rest_port = _free_ports()
        config = self._folder / f"{name}.yml"
        config.write_text(self._patroni_yml(name, folder, port, rest_port))
        python = _python()
        assert python is not None
        return Machine(
            name,
            folder,
            (port, rest_port),
            lambda: self._popen(name, [python, "-S", "-m", "patroni", str(config)], _packages()),
        )

    def _patroni_yml(self, name: str, folder: Path, port: int, rest_port: int) -> str:
        """Return a Patroni's own settings, and those that the first one gives to the cluster."""
        hosts = [f"127.0.0.1:{port}" for port, _ in self._etcd_ports]
        login = {"username": "postgres"}
        own = {
            "scope": "pgbourse",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{rest_port}", "connect_address": f"127.0.0.1:{rest_port}"},
            "etcd3": {"hosts": hosts},
            "postgresql": {
                "listen": f"127.0.0.1:{port}",
                "connect_address": f"127.0.0.1:{port}",
                "data_dir": str(folder / "data"),
                "bin_dir": str(self._binaries.folder),
                "pgpass": str(folder / "pgpass"),
                "authentication": {"superuser": login, "replication": login, "rewind": login},
                "parameters": {"unix_socket_directories": ""},
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
            },
        }
        # JSON is YAML, so only the settings of the page, which are YAML, keep their own form.
        lines = [f"{key}: {json.dumps(value)}" for key, value in own.items()]
        initdb = json.dumps([{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", "no-sync"])
        lines += ["bootstrap:", f"  initdb: {initdb}", "  dcs:"]
        return "\n".join([*lines, textwrap.indent(_recommended_settings(), "    ")])

    def _start_etcd(self, number: int) -> psutil.Popen:
        name = f"etcd{number + 1}"
        self._own(self._folder / name)
        ours, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports[number])
        peers = ",".join(
            f"etcd{other + 1}=http://127.0.0.1:{port}" for other, (_, port) in enumerate(self._etcd_ports)
        )
        options = {
            "name": name,
            "data-dir": str(self._folder / name),
            "listen-client-urls": ours,
            "advertise-client-urls": ours,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": peers,
        }
        return self._popen(name, ["etcd", *(f"--{option}={value}" for option, value in options.items())])

    def _popen(self, name: str, command: Sequence[str], more: dict[str, str] | None = None) -> psutil.Popen:
        with (self._folder / f"{name}.log").open("ab") as log:
            return psutil.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment() | (more or {}),
                start_new_session=True,
                **run_as(self._user),
            )

    def _own(self, folder: Path) -> None:
        """Make a folder that belongs to the user of PostgreSQL."""
        folder.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def _end(self) -> None:
        for machine in self.machines:
            machine.lose()
        for process in self._etcd:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _python() -> str | None:
    """Return a Python that PostgreSQL's user may run: ours, or another of the same version."""
    user = run_as(service_user(Path("/nonexistent")))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/local/bin/python{version}", f"/usr/bin/python{version}"):
        try:
            command = [python, "-S", "-c", "import patroni.dcs.etcd3"]
            environ = environment() | _packages()
            subprocess.run(command, check=True, capture_output=True, cwd="/", env=environ, **user)
            return python
        except (OSError, subprocess.CalledProcessError):
            continue
    return None


def _packages() -> dict[str, str]:
    """Return the environment in which another Python, with -S, finds our packages and no others."""
    return {"PYTHONPATH": sysconfig.get_path("purelib")}


def _free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
