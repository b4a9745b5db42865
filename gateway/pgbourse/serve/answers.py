"""What the server said to one statement, and what is certain after that."""

from typing import NamedTuple

from psycopg import pq

from pgbourse.errors import one_line
from pgbourse.serve.sessions import ConnectionGone, DatabaseError

__all__ = ["Answer", "CallFailed", "FateUnknown", "Locked", "ReadOnly"]

_DISK_FULL = "53100"

_TUPLES_OK = pq.ExecStatus.TUPLES_OK
_READ_ONLY = "25006"
_LOCK_NOT_AVAILABLE = "55P03"
_ADMIN_SHUTDOWN = "57P01"


class CallFailed(DatabaseError):
    """The statement certainly failed and was rolled back; the connection is ready for the next one.

    `sqlstate` is the server's, and `detail` its whole message, in one line.
    """

    def __init__(self, message: str, sqlstate: str, detail: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail

    @property
    def is_no_room(self) -> bool:
        """Whether the disk of the database is full."""
        return self.sqlstate == _DISK_FULL


class ReadOnly(DatabaseError):
    """The session takes no writes. The statement left nothing behind; one that only reads may be sent."""


class Locked(DatabaseError):
    """The statement waited for a lock longer than it may, and was rolled back: somebody else has the lock."""


class FateUnknown(DatabaseError):
    """The statement may or may not have committed, or its commit may be lost: we can't know."""


class Answer(NamedTuple):
    """The results of one statement, in order; more may have been lost unless `is_complete`."""

    results: list[pq.abc.PGresult]
    is_complete: bool  # the server was ready for the next statement, so the transaction had ended

    @property
    def succeeded(self) -> bool:
        """Whether the statement's transaction has committed."""
        return self.is_complete and len(self.results) == 1 and self.results[0].status == _TUPLES_OK

    def failure(self) -> DatabaseError:
        """Return what the failed statement left: nothing, or who knows."""
        fatal = pq.ExecStatus.FATAL_ERROR
        place = next((i for i, result in enumerate(self.results) if result.status == fatal), None)
        if place is None:
            return FateUnknown("not an answer to our statement")
        error = self.results[place]
        text = one_line(error.get_error_message())
        sqlstate = (error.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if sqlstate and self.is_complete:
            # The server reported an error and is ready for the next statement: it has rolled back.
            if sqlstate == _READ_ONLY:
                return ReadOnly(text)
            if sqlstate == _LOCK_NOT_AVAILABLE:
                return Locked(text)
            # Leave the detail out: it may quote a row, and a balance in it, which must not get into a log.
            # That a disk is full has nothing to do with the statement.
            fields = [pq.DiagnosticField.MESSAGE_PRIMARY]
            if sqlstate != _DISK_FULL:
                fields.append(pq.DiagnosticField.CONTEXT)
            said = b"; ".join(filter(None, map(error.error_field, fields)))
            return CallFailed(one_line(said.decode("utf-8", "replace")), sqlstate, text)
        source = error.error_field(pq.DiagnosticField.SOURCE_FUNCTION)
        if place == 0 and sqlstate == _ADMIN_SHUTDOWN and source == b"ProcessInterrupts":
            # PostgreSQL itself (a pooler has no source function) ended the session before CommandComplete, so
            # before it read Sync, so before the commit began.
            return ConnectionGone(text)
        return FateUnknown(text)
