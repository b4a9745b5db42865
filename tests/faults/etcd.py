"""An etcd of three members on this machine, of which some freeze and thaw."""

from __future__ import annotations

from typing import Final

import psutil

from tests.faults.launcher import Launcher, free_ports

__all__ = ["Etcd"]

_MEMBERS: Final = 3


class Etcd:
    """Three members, which agree as long as two of them run."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._ports = [free_ports() for _ in range(_MEMBERS)]  # for clients, and for each other
        self._processes: list[psutil.Popen] = []

    @property
    def hosts(self) -> list[str]:
        """Where clients find the members."""
        return [f"127.0.0.1:{port}" for port, _ in self._ports]

    def start(self) -> None:
        """Start all members, and return at once."""
        self._processes = [self._start(number) for number in range(_MEMBERS)]

    def freeze(self, members: int = _MEMBERS) -> None:
        """Stop so many members: one is a loss that etcd gets over, two are not."""
        for process in self._processes[:members]:
            process.suspend()

    def thaw(self) -> None:
        """Let all members go on."""
        for process in self._processes:
            process.resume()

    def end(self) -> None:
        """Kill all members."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self, number: int) -> psutil.Popen:
        name = f"etcd{number + 1}"
        folder = self._launcher.make_folder(name)
        ours, peer = (f"http://127.0.0.1:{port}" for port in self._ports[number])
        peers = ",".join(
            f"etcd{other + 1}=http://127.0.0.1:{port}" for other, (_, port) in enumerate(self._ports)
        )
        options = {
            "name": name,
            "data-dir": str(folder),
            "listen-client-urls": ours,
            "advertise-client-urls": ours,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": peers,
        }
        return self._launcher.start(
            name, ["etcd", *(f"--{option}={value}" for option, value in options.items())]
        )
