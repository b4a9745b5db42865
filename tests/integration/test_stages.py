"""The calls of the two stages of an order: what they answer, and what a lost answer means."""

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from pgbourse.serve.calls import Caller, ConnectionGone, FateUnknown, Locked, Matched, Reserved
from tests.integration.conftest import Session

CREATE = b'{"(1,create_account,1,,100,,,,)","(1,create_symbol,,X,,,,,)","(1,create_account,2,,100,,,,)"}'

StartCaller = Callable[..., Caller]


@pytest.fixture
def start_caller(database: str) -> Iterator[StartCaller]:
    """Connect callers, in a database with two accounts that have 100 each."""
    callers: list[Caller] = []

    def start(lock_timeout: int = 0) -> Caller:
        caller = Caller(database, "pgbourse test", lock_timeout)
        callers.append(caller)
        caller.connect()
        return caller

    with closing(Caller(database, "pgbourse test")) as first:
        first.connect()
        first.process_batch(CREATE)
    yield start
    for caller in callers:
        caller.close()


def buys(*limits: int, account: int = 1) -> bytes:
    """Write buys of one share each."""
    orders = (f'"(1,place_order,{account},X,1,{limit},,,)"' for limit in limits)
    return f"{{{','.join(orders)}}}".encode()


def codes(rows: list[Reserved]) -> list[str | None]:
    return [row.code for row in rows]


def outcomes(rows: list[Matched]) -> list[str]:
    return [row.outcome for row in rows]


def incoming(connection: Session) -> int:
    """Count what is reserved for and not in the market."""
    row = connection.execute("select count(*) from exchange.incoming_orders").fetchone()
    assert row is not None
    return int(row[0])


def test_what_is_reserved_is_matched_by_another_session(
    start_caller: StartCaller, connection: Session
) -> None:
    front, lane = start_caller(), start_caller()
    reserved = front.reserve(buys(10, 20))
    assert codes(reserved) == [None, None]
    assert incoming(connection) == 2
    matched = lane.match(reserved)
    assert [(row.place, row.outcome) for row in matched] == [(1, "opened"), (2, "opened")]
    assert [row.order_id for row in matched] == [1, 2]
    assert incoming(connection) == 0


def test_what_could_be_paid_by_earlier_orders_comes_later(start_caller: StartCaller) -> None:
    reserved = start_caller().reserve(buys(60, 60, 1))
    assert codes(reserved) == [None, "later", "later"]
    assert [row.incoming_id is None for row in reserved] == [False, True, True]


def test_a_refusal_is_told_behind_a_barrier_of_its_own(
    start_caller: StartCaller, connection: Session
) -> None:
    caller = start_caller()
    assert codes(caller.reserve(buys(101))) == ["insufficient_funds"]
    caller.flush()
    durable = connection.execute("select pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()")
    assert durable.fetchone() == (True,)


def test_nobody_waits_for_an_account(start_caller: StartCaller, connection: Session) -> None:
    with connection.transaction():
        connection.execute("select exchange.place_order('1', 'X', 1, 1)")
        assert codes(start_caller().reserve(buys(1))) == ["locked"]
        assert codes(start_caller().reserve(buys(1, account=2))) == [None]


def test_who_waits_too_long_for_a_symbol_has_done_nothing(
    start_caller: StartCaller, connection: Session
) -> None:
    caller = start_caller(lock_timeout=50)
    reserved = caller.reserve(buys(10))
    with connection.transaction():
        connection.execute("select exchange.place_order('2', 'X', 1, 1)")
        with pytest.raises(Locked):
            caller.match(reserved)
        assert outcomes(caller.match(reserved, waits=False)) == ["later"]
        with pytest.raises(Locked):
            caller.process_batch(buys(1))
        assert caller.process_batch(buys(1), waits=False)[0].outcome == "later"
    assert outcomes(caller.match(reserved)) == ["opened"]


def test_what_is_matched_twice_is_gone(start_caller: StartCaller) -> None:
    caller = start_caller()
    reserved = caller.reserve(buys(10, 20))
    assert outcomes(caller.match(reserved[1:])) == ["opened"]
    assert outcomes(caller.match(reserved)) == ["opened", "gone"]


def test_ids_of_another_start_of_the_server_are_gone(start_caller: StartCaller) -> None:
    """After a crash that has lost them the server may draw them again, for somebody else's orders."""
    caller = start_caller()
    mine, other = caller.reserve(buys(10, 20))
    matched = caller.match([other._replace(server="before the crash"), mine])
    assert [(row.place, row.outcome) for row in matched] == [(1, "gone"), (2, "opened")]
    assert outcomes(caller.match([other._replace(server="before the crash")])) == ["gone"]


def test_what_is_withdrawn_is_gone_and_free(start_caller: StartCaller, connection: Session) -> None:
    front, lane = start_caller(), start_caller()
    first, second = front.reserve(buys(40, 60))
    lane.withdraw([first, second._replace(server="before the crash")])
    assert incoming(connection) == 1  # what has that id since then is somebody else's
    assert outcomes(lane.match([first, second])) == ["gone", "opened"]
    assert codes(front.reserve(buys(40))) == [None]


def test_what_a_lost_session_had_reserved_is_given_back_before_it_asks_again(
    start_caller: StartCaller, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = start_caller()
    old = caller.reserve(buys(60))
    assert caller.connection is not None
    lost = caller.connection
    # The server doesn't know yet.
    for name, value in {"_lost": lost, "connection": None, "_conversation": None, "_pool": None}.items():
        monkeypatch.setattr(caller, name, value)
    caller.connect()
    assert incoming(connection) == 0
    again = caller.reserve(buys(60))
    assert codes(again) == [None]
    assert outcomes(caller.match(old)) == ["gone"]
    assert outcomes(caller.match(again)) == ["opened"]
    with pytest.raises(psycopg.OperationalError):
        lost.execute("select")
    lost.close()


def test_what_a_session_had_reserved_that_ended_is_given_back_by_others(
    start_caller: StartCaller, connection: Session
) -> None:
    front, other = start_caller(), start_caller()
    reserved = front.reserve(buys(60))
    front.close()
    with pytest.raises(ConnectionGone, match="not connected"):
        front.reserve(buys(1))
    give_back = "select exchange.give_back_orphans()"
    while connection.execute(give_back).fetchone() == (0,):
        pass  # its backend is about to end
    assert incoming(connection) == 0
    assert outcomes(other.match(reserved)) == ["gone"]
    assert codes(other.reserve(buys(100))) == [None]


def test_a_match_whose_answer_was_lost_can_be_asked_for_again(start_caller: StartCaller) -> None:
    front, lane = start_caller(), start_caller()
    first, second = front.reserve(buys(10, 20))
    assert lane.connection is not None
    lane.connection.execute("deallocate barrier")
    with pytest.raises(FateUnknown):
        lane.match([first])
    lane.connect()
    assert outcomes(lane.match([first, second])) == ["gone", "opened"]


def test_a_session_that_has_ended_knows_nothing_of_newer_orders(
    start_caller: StartCaller, connection: Session
) -> None:
    """The server may have started anew while a lane was idle: the lane's session is what is gone."""
    front, lane = start_caller(), start_caller()
    assert lane.connection is not None
    (order,) = front.reserve(buys(10))
    connection.execute("select pg_terminate_backend(%s, 5000)", [lane.connection.backend])
    lane.connection.server = "before the crash"
    with pytest.raises(ConnectionGone):
        lane.match([order])
    lane.connect()
    assert outcomes(lane.match([order])) == ["opened"]
