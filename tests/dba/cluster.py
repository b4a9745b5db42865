"""A PostgreSQL cluster of the test's own: for restarts, backups, and a second one beside it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from psycopg.conninfo import make_conninfo

from pgbourse.database.binaries import Binaries, EmbeddedError, find_binaries, reachable, run_as, service_user

__all__ = ["Cluster", "binaries_for"]


def binaries_for(major: int) -> Binaries:
    """Return the binaries of this major version; where the machine has none, the newest that it has."""
    try:
        return find_binaries(major)
    except EmbeddedError:  # the server under test is in a container, or elsewhere
        return find_binaries(None)


class Cluster:
    """A server on a socket in `folder`, made anew and running within a with block. Not durable."""

    def __init__(self, folder: Path, major: int, **settings: str) -> None:
        self.user = service_user(folder / "data")
        self.binaries = reachable(binaries_for(major), self.user, folder)
        self.folder = folder
        self.data = folder / "data"
        folder.mkdir(mode=0o755, exist_ok=True)
        if self.user is not None:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        fixed = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "max_connections": "40",
            "autovacuum": "off",
        }
        self._settings = {**fixed, **settings}

    def __enter__(self) -> Self:
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        lines = [f"{name} = '{value}'\n" for name, value in self._settings.items()]
        with (self.data / "postgresql.conf").open("a") as config:
            config.writelines(lines)
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "start")
        return self

    def __exit__(self, *_: object) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")

    def dsn(self, dbname: str = "postgres") -> str:
        return make_conninfo(host=str(self.folder), user="postgres", dbname=dbname)

    def environment(self) -> dict[str, str]:
        """What a shell needs for psql, pg_dump and pgbourse to find this server and its database pgbourse."""
        ours = Path(sys.executable).parent
        return {
            "PATH": f"{self.binaries.folder}:{ours}:{os.environ.get('PATH', os.defpath)}",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PGHOST": str(self.folder),
            "PGUSER": "postgres",
            "PGDATABASE": "pgbourse",
            "PGBOURSE_DATABASE_URL": self.dsn("pgbourse"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the cluster's user and return what it printed."""
        # Not through a pipe: the server that pg_ctl starts would keep it open.
        output = self.folder / f"{program}.out"
        output.touch()
        with output.open("w") as stream:
            result = subprocess.run(
                [str(self.binaries.folder / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd="/",
                env=self.environment(),
                check=False,
                **run_as(self.user),
            )
        text = output.read_text()
        assert result.returncode == 0, f"{program}: {text}"
        return text
