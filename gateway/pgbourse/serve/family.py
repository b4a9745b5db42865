"""Several processes that serve one port: their parent starts them, deals out connections, adds up figures.

The parent itself serves nobody. To those who start, stop and observe it, it is like a Server. Each child is
one, in a process of its own (pgbourse.serve.child), with its own interpreter, workers and database sessions.
When a child dies, its own clients are closed, and it is started again.
"""

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from pgbourse import __version__
from pgbourse.errors import PgbourseError
from pgbourse.serve.child import Assignment, Figures
from pgbourse.serve.dealer import Dealer, Door
from pgbourse.serve.server import Status, add_up
from pgbourse.serve.tally import Tally
from pgbourse.settings import ServeSettings

__all__ = ["ChildError", "Family"]

_log = logging.getLogger("pgbourse.service")

# Seconds until a child that has died is started again: at first, and at most if it keeps dying.
_FIRST_PAUSE = 0.25
_MAX_PAUSE = 10.0
_LONG_LIFE = 60.0  # seconds after which a death is the first again
_START_SECONDS = 60.0
_ANSWER_SECONDS = 1.0  # for what a child answers within a millisecond
_EXIT_SECONDS = 5.0  # for the end of a child, after its drain


class ChildError(PgbourseError):
    """A child does not start."""


class Family:
    """A server in several processes.

    `start` it; `stop` it from any thread or a signal handler; `join` returns when everything has ended;
    `close` leaves no process behind, whatever has happened.
    """

    def __init__(self, listener: socket.socket, conninfo: str, settings: ServeSettings) -> None:
        """Take over a listening socket; `conninfo` is the libpq connection string of the database."""
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._settings = settings
        self._stopping = threading.Event()
        self._dealer = Dealer(listener, settings)
        self._children = [
            _Child(_assign(number, listener, conninfo, settings), self._dealer.add, self._stopping)
            for number in range(1, settings.processes + 1)
        ]
        # Guards the number of the last question: one is asked at a time.
        self._asking = threading.Lock()
        self._question = 0

    def start(self) -> None:
        """Return once all children serve. Raises ChildError if one does not."""
        self._dealer.start()
        for child in self._children:
            child.start()
        deadline = time.monotonic() + _START_SECONDS
        for child in self._children:
            child.wait_until_ready(deadline)
        self._dealer.open()

    def stop(self) -> None:
        """Start to drain: accept no more, let the children answer what was received, then end."""
        self._stopping.set()
        self._dealer.stop()

    def reload_certificates(self) -> None:
        """Let the children read the certificate files again. May be called from any thread."""
        if self._settings.tls_cert is None:
            _log.info("there are no certificates to read again")
            return
        for child in self._children:
            child.reload()

    def join(self) -> bool:
        """Wait for the end. True if everything that was received has been answered."""
        # 1. The last connections are dealt. 2. The children drain. 3. They end, or are ended.
        well = self._dealer.join()
        self._stopping.set()
        deadline = time.monotonic() + self._settings.drain_timeout + _EXIT_SECONDS
        for child in self._children:
            child.drain()
        for child in self._children:
            well &= child.join(deadline)
        return well

    def close(self) -> None:
        """End at once what has not ended."""
        self.stop()
        self._dealer.join()
        for child in self._children:
            child.kill()
        self._dealer.close()

    def pids(self) -> dict[str, int]:
        """Return the numbers of all processes by name: parent, and those of the children."""
        there = {str(child.number): child.pid for child in self._children if child.pid}
        return {"parent": os.getpid(), **there}

    def status(self) -> Status:
        """Return the state of all children together. May be called from any thread."""
        self._ask()
        figures = [child.figures for child in self._children]
        status = add_up([one.status for one in figures if one is not None], self._dealer.turned_at)
        traffic = dataclasses.replace(
            status.traffic, accepted=self._dealer.accepted, addresses=self._dealer.addresses()
        )
        return dataclasses.replace(
            status,
            traffic=traffic,
            draining=self._stopping.is_set(),
            processes=sum([child.is_ready() for child in self._children]),
            restarts=sum([child.restarts for child in self._children]),
        )

    @property
    def tallies(self) -> list[Tally]:
        """What the children count, those that have died included."""
        self._ask()
        return [tally for child in self._children for tally in child.tallies()]

    def _ask(self) -> None:
        """Ask all children for their figures; one that does not answer in time keeps those of before."""
        with self._asking:
            self._question += 1
            for child in self._children:
                child.ask(self._question)
            deadline = time.monotonic() + _ANSWER_SECONDS
            for child in self._children:
                child.hear(self._question, deadline)


def _assign(number: int, listener: socket.socket, conninfo: str, settings: ServeSettings) -> Assignment:
    """Return what a child is told: its share of some limits, and not those that its parent holds."""
    settings = dataclasses.replace(
        settings,
        database_password_file=None,  # the connection string has it by now
        max_connections_per_address=0,
        queue_documents=max(1, settings.queue_documents // settings.processes),
    )
    return Assignment(
        version=__version__,
        parent=os.getpid(),
        number=number,
        settings=settings,
        conninfo=conninfo,
        family=listener.family,
        address=listener.getsockname()[:2],
    )


class _Child:
    """One child, as its parent sees it: a thread that starts its process whenever there is none."""

    def __init__(
        self, assignment: Assignment, add_door: Callable[[Door], None], stopping: threading.Event
    ) -> None:
        self.number = assignment.number
        self._assignment = assignment
        self._add_door = add_door
        self._stopping = stopping
        self.restarts = 0
        self._thread = threading.Thread(
            target=self._supervise, name=f"pgbourse-child-{self.number}", daemon=True
        )
        # Set once the first process is ready, or has ended.
        self._begun = threading.Event()
        self._status = 0  # with which the last process ended
        self._end = ""  # the same in words
        self._was_ready = False  # the present process, or the last one
        self._reload_asked = False  # since it was started
        # Guards _process: whether there is one to stop, or another may still be started.
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        # Guards the pipe to the process, what it answered last, and what those before it have counted.
        self._talk = threading.Lock()
        self._control: Connection[Any, Any] | None = None
        self.figures: Figures | None = None
        self._past = Tally()

    @property
    def pid(self) -> int:
        """The number of its process; 0 if there is none."""
        process = self._process
        return 0 if process is None else process.pid

    def is_ready(self) -> bool:
        """Return whether it takes clients."""
        return self._was_ready and self._process is not None

    def start(self) -> None:
        self._thread.start()

    def wait_until_ready(self, deadline: float) -> None:
        """Raise ChildError if its first process is not ready by then."""
        if not self._begun.wait(deadline - time.monotonic()):
            raise ChildError(f"process {self.number} of the server is not ready after {_START_SECONDS:g} s")
        if not self._was_ready and not self._stopping.is_set():
            raise ChildError(f"process {self.number} of the server does not start: {self._end}")

    def reload(self) -> None:
        """Let it read its certificates again. Called in signal handlers, so it takes no lock."""
        self._reload_asked = True
        if self.is_ready():
            self._signal(signal.SIGHUP)

    def drain(self) -> None:
        """Ask it to answer what it has received, and end."""
        with self._mutex:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        with self._mutex:
            self._signal(signal.SIGKILL)
        if self._thread.ident is not None:
            self._thread.join()

    def join(self, deadline: float) -> bool:
        """Wait for its end, or end it. True if it has answered all that it received."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            _log.warning("process %d did not end in time", self.number)
            self.kill()
        return self._status == 0 or not self._was_ready

    def ask(self, question: int) -> None:
        with self._talk, contextlib.suppress(OSError):
            if self._control is not None:
                self._control.send(question)

    def hear(self, question: int, deadline: float) -> None:
        """Wait until then for the answer to this question."""
        with self._talk, contextlib.suppress(OSError, EOFError):
            while self._control is not None and self._control.poll(max(0.0, deadline - time.monotonic())):
                answered, self.figures = self._control.recv()
                if answered == question:
                    break

    def tallies(self) -> list[Tally]:
        with self._talk:
            return [self._past, *([] if self.figures is None else [self.figures.tally])]

    def _supervise(self) -> None:
        """Keep a process running until stopped: start another whenever it ends, with growing pauses."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            self._end = self._run()
            is_start = not self._begun.is_set()
            self._begun.set()
            if self._stopping.is_set() or is_start:
                break
            self.restarts += 1
            _log.error("process %d %s, and its clients are closed; starting it again", self.number, self._end)
            self._stopping.wait(pause)
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONG_LIFE else min(2 * pause, _MAX_PAUSE)

    def _run(self) -> str:
        """Run one process until it ends, and return how it did."""
        ours, theirs = socket.socketpair()
        try:
            with self._mutex, theirs:
                if self._stopping.is_set():
                    ours.close()
                    return ""
                self._was_ready = self._reload_asked = False
                process, control = self._spawn(theirs)
                self._process = process
        except OSError as error:
            ours.close()
            self._status = 1
            return f"can't be started: {error}"
        with self._talk:
            self._control = control
            with contextlib.suppress(OSError):  # it has ended
                control.send(self._assignment)
        self._add_door(Door(ours, partial(self._note_ready, process)))
        self._status = process.wait()
        with self._mutex:
            self._process = None
        with self._talk:
            self._control = None
            control.close()
            if self.figures is not None:
                self._past.add(self.figures.tally)
                self.figures = None
        if self._status < 0:
            return f"(pid {process.pid}) was ended by {signal.Signals(-self._status).name}"
        return f"(pid {process.pid}) has ended with status {self._status}"

    def _spawn(self, channel: socket.socket) -> "tuple[subprocess.Popen[bytes], Connection[Any, Any]]":
        control, theirs = Pipe()
        with theirs:
            descriptors = channel.fileno(), theirs.fileno()
            # -P: what lies in the working directory is not ours.
            command = [sys.executable, "-P", "-m", "pgbourse.serve", *map(str, descriptors)]
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={name: value for name, value in os.environ.items() if not _is_ours(name)},
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            except OSError:
                control.close()
                raise
        return process, control

    def _note_ready(self, process: "subprocess.Popen[bytes]") -> None:
        """Note that a process serves. Called by the dealer."""
        if self._process is process:
            self._was_ready = True
            self._begun.set()
            _log.info("process %d (pid %d) serves", self.number, process.pid)
            if self._reload_asked:  # it may have read the files just before that
                self._signal(signal.SIGHUP)

    def _signal(self, number: int) -> None:
        if (process := self._process) is not None:
            process.send_signal(number)


def _is_ours(name: str) -> bool:
    """Tell whether a variable is meant for the parent, which passes on what it says."""
    return name.startswith("PGBOURSE_") or name == "NOTIFY_SOCKET"
