"""Processes of a test's own in one folder, run as the user that PostgreSQL runs as, each with a log."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from pgbourse.database.binaries import run_as, service_user
from pgbourse.database.datafolder import environment

__all__ = ["Launcher", "free_ports"]


class Launcher:
    """Starts programs in a folder, which that user must be able to enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = service_user(folder)

    def start(self, name: str, command: Sequence[str], more: dict[str, str] | None = None) -> psutil.Popen:
        """Start a program that logs to `name`.log, with this environment beside the usual one."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return psutil.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment() | (more or {}),
                start_new_session=True,
                **run_as(self.user),
            )

    def make_folder(self, name: str) -> Path:
        """Make a folder that belongs to the user."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        if self.user is not None:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        return folder

    def logs(self) -> str:
        """Return the last lines of every log, for a test that fails."""
        return "\n".join(
            f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:])
            for log in sorted(self.folder.glob("*.log"))
        )


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
