"""`pgbourse serve` as a process of a test."""

import contextlib
import os
import re
import socket
import subprocess

from pgbourse.testing.servers import Gateway

__all__ = ["Service", "refuses"]


class Service:
    """A running `pgbourse serve`."""

    def __init__(self, *options: str, most_files: int = 0) -> None:
        """Start it, with `most_files` that it may have open; 0: as many as we may."""
        limit = ["sh", "-c", f'ulimit -n {most_files} && exec "$@"', "sh"] if most_files else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
        self.process = subprocess.Popen(
            [*limit, *Gateway.COMMAND, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # a service has no terminal
        )
        self.line = ""

    def wait(self) -> None:
        """Wait for its first line, or its end."""
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    @property
    def address(self) -> tuple[str, int]:
        match = re.fullmatch(r"pgbourse: listening on (127\.0\.0\.1):(\d+) \(PostgreSQL .*\)\n", self.line)
        assert match, self.line
        return match[1], int(match[2])

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and what was written on standard error."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def refuses(address: tuple[str, int]) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(address) != 0
