"""A machine of a highly available cluster: PostgreSQL, and the Patroni that manages it.

Patroni is PyPI's, and its settings are those that docs/high-availability.md recommends, read from that page.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import psutil

from pgbourse.database.binaries import find_binaries, reachable, run_as, service_user
from pgbourse.database.datafolder import environment
from tests.faults.etcd import Etcd
from tests.faults.launcher import Launcher, free_ports

__all__ = ["Machine", "missing", "recommended_setting"]

_ROOT: Final = Path(__file__).parents[2]
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

    def __init__(self, name: str, launcher: Launcher, etcd: Etcd) -> None:
        self.name = name
        self.port, self.rest_port = free_ports()
        self._launcher = launcher
        self._folder = launcher.make_folder(name)
        self._data = self._folder / "data"
        self._config = launcher.folder / f"{name}.yml"
        self._config.write_text(self._settings(etcd))
        self._patroni: psutil.Popen | None = None

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL, and return at once."""
        python = _python()
        assert python is not None
        command = [python, "-S", "-m", "patroni", str(self._config)]
        self._patroni = self._launcher.start(self.name, command, _packages())

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
            postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split("\n", 1)[0]))
            if Path(postmaster.cwd()) != self._data:
                return []  # a number that was left behind
            return [postmaster, *postmaster.children(recursive=True)]
        except (FileNotFoundError, psutil.NoSuchProcess):
            return []

    def _settings(self, etcd: Etcd) -> str:
        """Return a Patroni's own settings, and those that the first one gives to the cluster."""
        binaries = reachable(find_binaries(None), self._launcher.user, self._launcher.folder)
        server, rest = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.rest_port}"
        login = {"username": "postgres"}
        own = {
            "scope": "pgbourse",
            "name": self.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"hosts": etcd.hosts},
            "postgresql": {
                "listen": server,
                "connect_address": server,
                "data_dir": str(self._data),
                "bin_dir": str(binaries.folder),
                "pgpass": str(self._folder / "pgpass"),
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
