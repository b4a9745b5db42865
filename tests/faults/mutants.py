"""Gateways that break a promise on purpose: `python -m tests.faults.mutants NAME,… serve …`.

A test of a promise is worth something if it fails on these. Each one changes the landed code in one place.
"""

import contextlib
import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import pq
from psycopg.errors import Diagnostic

import pgbourse.cli
from pgbourse.database import embedded
from pgbourse.serve import conversation, patience
from pgbourse.serve.answers import Answer
from pgbourse.serve.calls import Caller, ConnectionGone, FateUnknown
from pgbourse.serve.carrier import Carrier
from pgbourse.serve.conversation import Conversation
from pgbourse.serve.lanes import Part
from pgbourse.serve.portions import Portion
from pgbourse.serve.ready import Ready
from pgbourse.serve.sessions import Session
from pgbourse.wire.messages import ResultRow
from tests.faults.careless import CARELESS
from tests.faults.misleading import MISLEADING

__all__ = ["MUTANTS"]


def replies_before_the_commit() -> None:
    """Begin a transaction for each batch, and commit it when the replies are out."""
    call, next_client, mine = Caller._call, Ready.wait, threading.local()

    def execute(on: Caller, statement: bytes) -> None:
        # A lost connection is left, so that the worker lives and connects again: nothing else is broken here.
        if on.connection is not None:
            result = on.connection.pgconn.exec_(statement)
            if result.status != pq.ExecStatus.COMMAND_OK:
                on.disconnect()
                raise ConnectionGone(result.get_error_message())

    def call_in_transaction(
        self: Caller, name: bytes, parameters: Sequence[bytes], *, barrier: bool = True
    ) -> Any:
        if name == b"process_batch":
            execute(self, b"begin")
            mine.database = self
        return call(self, name, parameters, barrier=barrier)

    def commit_then_next(self: Ready, worker: int) -> Any:
        if (open_in := getattr(mine, "database", None)) is not None:
            time.sleep(0.02)  # as a commit may take, on a slow disk
            with contextlib.suppress(ConnectionGone):  # too late to tell anybody
                execute(open_in, b"commit")
        return next_client(self, worker)

    Caller._call = call_in_transaction  # type: ignore[method-assign]
    Ready.wait = commit_then_next  # type: ignore[method-assign]


def sends_again_what_may_have_committed() -> None:
    """Take a connection that was lost during a call for one that was lost before it."""
    call = Caller._call

    def call_again(self: Caller, name: bytes, parameters: Sequence[bytes], *, barrier: bool = True) -> Any:
        try:
            return call(self, name, parameters, barrier=barrier)
        except FateUnknown as error:
            raise ConnectionGone(str(error)) from error

    Caller._call = call_again  # type: ignore[method-assign]


def takes_what_is_gone_for_given_back() -> None:
    """Forget that the answer to a match was lost, in which an order that is gone may have been matched."""
    setattr(Part, "was_lost", property(lambda _: False, lambda *_: None))  # noqa: B010 - it is a slot


def answers_what_it_cannot_know() -> None:
    """Tell clients that nothing was carried out when the fate of their requests is unknown."""
    carry_out = Carrier.carry_out

    def guess(self: Carrier, portions: Sequence[Portion]) -> None:
        carry_out(self, portions)
        for portion in portions:
            if portion.lost:
                told = ResultRow(0, "failed", message="the database failed: not carried out")
                portion.lost, portion.results = False, [[told] for _ in portion.requests]

    Carrier.carry_out = guess  # type: ignore[method-assign]


def trusts_the_first_result() -> None:
    """Take CommandComplete for the end of the transaction."""
    answer = Conversation._answer

    def first(self: Conversation) -> Answer:
        whole = answer(self)
        return whole._replace(results=whole.results[:1])

    Conversation._answer = first  # type: ignore[method-assign]


def commits_without_a_flush() -> None:
    _set_synchronous_commit("off")


def commits_on_the_primary_alone() -> None:
    _set_synchronous_commit("local")


def commits_synchronously() -> None:
    """Let calls themselves wait for the log and the standby, with all the locks that they hold."""
    begin = Conversation.__init__

    def begin_synchronous(self: Conversation, session: Session, *arguments: Any, **options: Any) -> None:
        begin(self, session, *arguments, **options)
        session.execute("set synchronous_commit = on")

    Conversation.__init__ = begin_synchronous  # type: ignore[method-assign]


def has_a_barrier_of_nothing() -> None:
    """Leave out what makes the barrier a transaction that has something to flush."""
    conversation._BARRIER = conversation._BARRIER.replace(conversation.EMIT, b"null")


def cancels_what_takes_long() -> None:
    """Give up waiting for an answer after a while, as many a client library can be told to."""
    answer = Conversation._answer

    def impatient(self: Conversation) -> Answer:
        pgconn = self._session.pgconn
        if not select.select([pgconn.socket], [], [], 0.5)[0]:
            pgconn.get_cancel().cancel()
        return answer(self)

    Conversation._answer = impatient  # type: ignore[method-assign]


def is_deaf_to_warnings() -> None:
    def hear_nothing(self: Conversation, notice: Diagnostic) -> None:
        pass

    Conversation._hear = hear_nothing  # type: ignore[method-assign]


def never_connects_again() -> None:
    connect = Caller.connect

    def once(self: Caller) -> None:
        if self.connection is None and self.connects:
            raise ConnectionGone("once was enough")
        connect(self)

    Caller.connect = once  # type: ignore[method-assign]


def is_slow_to_connect_again() -> None:
    patience._FIRST_RETRY = patience._LAST_RETRY = 5.0


def leaves_its_own_server_dead() -> None:
    embedded._FIRST_BACKOFF = 3600.0


def _set_synchronous_commit(value: str) -> None:
    conversation._BARRIER = conversation._BARRIER.replace(b"%b", value.encode() + b"%.0b")


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (
        replies_before_the_commit,
        sends_again_what_may_have_committed,
        takes_what_is_gone_for_given_back,
        answers_what_it_cannot_know,
        trusts_the_first_result,
        commits_without_a_flush,
        commits_on_the_primary_alone,
        has_a_barrier_of_nothing,
        commits_synchronously,
        cancels_what_takes_long,
        is_deaf_to_warnings,
        never_connects_again,
        is_slow_to_connect_again,
        leaves_its_own_server_dead,
        *CARELESS,
        *MISLEADING,
    )
}

if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        MUTANTS[name]()
    pgbourse.cli.main(sys.argv[2:])
