"""One of several processes that serve clients, started by a parent (pgbourse.serve.family).

It gets its settings from the parent, and clients' connections through a channel. It leads a session of its
own, so that a terminal's signals reach only the parent, which passes on what they mean. It ends with its
parent, at once.
"""

import logging
import os
import socket
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pgbourse import __version__
from pgbourse.database.conninfo import forget_environment
from pgbourse.database.datafolder import DataFolder
from pgbourse.errors import PgbourseError, one_line
from pgbourse.logs import start_logging
from pgbourse.serve.dealt import Dealt
from pgbourse.serve.interpreter import set_up_interpreter
from pgbourse.serve.server import Server, Status
from pgbourse.serve.signals import Signals
from pgbourse.serve.tally import Tally
from pgbourse.settings import ServeSettings
from pgbourse.streams import mend_streams

__all__ = ["Assignment", "Figures", "main"]

_log = logging.getLogger("pgbourse.service")


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a child is told when it begins. It comes through a pipe, for it may hold a password."""

    version: str  # the parent's; by now there may be other files here than those that it began with
    parent: int  # its process number
    number: int  # which child this is
    settings: ServeSettings
    conninfo: str
    family: int  # of the addresses that clients connect to
    address: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """How a child is, when its parent asks."""

    status: Status
    tally: Tally


def main(channel: int, control: int) -> int:
    """Serve clients that come through the channel, a socket; `control` is a pipe to the parent."""
    mend_streams()
    forget_environment()
    parent: Connection[Any, Any] = Connection(control)
    try:
        assignment: Assignment = parent.recv()
    except EOFError:
        return 1
    start_logging(assignment.settings.log_level, assignment.settings.log_format, assignment.number)
    try:
        return 0 if _serve(assignment, socket.socket(fileno=channel), parent) else 1
    except PgbourseError as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        _log.error("this process ends: %s", one_line(f"{error}{cause}"))
        return 1


def _serve(assignment: Assignment, channel: socket.socket, parent: "Connection[Any, Any]") -> bool:
    """Serve until told to drain. True if everything received was answered."""
    if assignment.version != __version__:
        raise PgbourseError(f"this is version {__version__}, its parent {assignment.version}: restart both")
    set_up_interpreter()
    dealt = Dealt(channel, assignment.family, assignment.address)
    with Signals() as signals:
        server = Server(dealt, assignment.conninfo, assignment.settings)
        signals.drain = server.stop
        signals.reload = server.reload_certificates
        server.start()
        threading.Thread(
            target=_talk, args=(parent, server, assignment), name="pgbourse-parent", daemon=True
        ).start()
        dealt.report_ready()
        return server.join()


def _talk(parent: "Connection[Any, Any]", server: Server, assignment: Assignment) -> None:
    """Answer the parent's questions. Once it is gone, end this process."""
    try:
        while True:
            question = parent.recv()
            total = Tally()
            for tally in server.tallies:
                total.add(tally)
            parent.send((question, Figures(server.status(), total)))
    except (EOFError, OSError):
        _log.error("the parent process is gone: ending at once")
        if assignment.settings.database_url is None:
            _end_postgresql(assignment)
    except Exception:  # noqa: BLE001 - a bug of ours: log it, and let the parent start another process
        _log.exception("this process ends because of an unforeseen error")
    os._exit(1)


def _end_postgresql(assignment: Assignment) -> None:
    """Let the parent's PostgreSQL shut down."""
    try:
        DataFolder(assignment.settings.data_dir).end_orphan(assignment.parent)
    except OSError as error:
        _log.warning("can't end the PostgreSQL that the parent has left behind: %s", one_line(error))
