"""A match that fails by a bug of ours: what was reserved for its orders is free again, and the others go on.

No session ends, so that nobody but the lane can know that these orders won't be matched any more.
"""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from pgbourse.serve import gathering, matcher
from pgbourse.serve.calls import Caller
from pgbourse.serve.carrier import FAILURES, Carrier
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.test_dispatch import (
    BREAK_AT_COMMIT,
    BREAK_AT_ONCE,
    CREATE,
    RAISE,
    break_database,
    buy,
    buys,
)

CASH = 1000  # of each account
ALL = buy(CASH)  # one share more, and it would be refused

# Ends the session when the first of these commits, so that nobody knows whether it has; the next ones fail.
ANSWER_IS_LOST = (
    f"if nextval('public.losses') > 1 then {RAISE} end if; perform pg_terminate_backend(pg_backend_pid());"
)


@pytest.fixture
def gateway(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway that never takes both stages in one transaction."""
    monkeypatch.setattr(gathering, "FEW", 0)
    gateway = start_gateway(reserve_workers=1, lanes=2)
    assert {child.tag for child in gateway.ask(CREATE)} == {"created"}
    return gateway


def incoming(connection: Session) -> int:
    row = connection.execute("select count(*) from exchange.incoming_orders").fetchone()
    assert row is not None
    return int(row[0])


def bads(count: int) -> bytes:
    return b'<transactions id="1">%b</transactions>' % (b'<order sym="BAD" amount="1" limit="1"/>' * count)


def is_internal(result: Any) -> bool:
    return (result.text or "").startswith("internal error ")


def nothing_is_held(gateway: Gateway, connection: Session) -> None:
    """Fail unless account 1 can spend all that it had, while the sessions that reserved for it live on."""
    assert incoming(connection) == 0
    (opened,) = gateway.ask(ALL)
    assert opened.tag == "opened"
    assert connection.execute("select * from exchange.check_integrity()").fetchall() == []


@pytest.mark.parametrize("when", [BREAK_AT_ONCE, BREAK_AT_COMMIT])
def test_what_an_order_had_reserved_whose_match_fails_is_free_before_its_client_is_told(
    gateway: Gateway, connection: Session, when: str
) -> None:
    break_database(connection, when, RAISE)
    assert is_internal(gateway.ask(buy(CASH, "BAD"))[0])
    nothing_is_held(gateway, connection)


def test_the_others_of_a_document_are_matched(gateway: Gateway, connection: Session) -> None:
    break_database(connection, BREAK_AT_COMMIT, RAISE)
    results = gateway.ask(buys(20, bad_at=7))
    assert [place for place, result in enumerate(results) if is_internal(result)] == [7]
    assert {result.tag for place, result in enumerate(results) if place != 7} == {"opened"}
    assert incoming(connection) == 0
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (19,)
    free = "select settled_cash + unsettled_cash from exchange.account_balances where account_id = '1'"
    assert connection.execute(free).fetchone() == (CASH - 19,)


def test_what_is_not_even_tried_is_free_as_well(gateway: Gateway, connection: Session) -> None:
    """After some failures of one client the rest of what it sent shares the last one's."""
    break_database(connection, BREAK_AT_ONCE, RAISE)
    assert all(map(is_internal, gateway.ask(bads(8 * FAILURES))))
    nothing_is_held(gateway, connection)


def test_who_lost_the_answer_first_is_closed_and_has_it_back(
    gateway: Gateway, connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    connection.execute("create sequence public.losses")
    connection.execute("grant usage on sequence public.losses to public")
    break_database(connection, BREAK_AT_COMMIT, ANSWER_IS_LOST)
    client = gateway.connect()
    client.send(buy(CASH, "BAD"))
    assert client.rest() == b""
    assert "asking for it again" in caplog.text
    nothing_is_held(gateway, connection)


def fail(*_: object) -> Any:
    raise RuntimeError("a bug of ours")


def test_a_lane_that_fails_by_itself_gives_back_what_it_had(
    gateway: Gateway, connection: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_database(connection, BREAK_AT_ONCE, RAISE)
    monkeypatch.setattr(matcher, "failed", fail)
    client = gateway.connect()
    client.send(bads(20))
    assert client.rest() == b""
    unforeseen = [record for record in caplog.records if record.exc_info is not None]
    assert [record.levelno for record in unforeseen] == [logging.ERROR]
    nothing_is_held(gateway, connection)


def test_a_worker_that_fails_after_it_has_reserved_gives_back_what_it_had(
    gateway: Gateway, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve: Callable[..., None] = Carrier.reserve

    def then_fail(self: Carrier, portions: Any) -> None:
        reserve(self, portions)
        assert incoming(connection) == 1
        monkeypatch.setattr(Carrier, "reserve", reserve)
        fail()

    monkeypatch.setattr(Carrier, "reserve", then_fail)
    client = gateway.connect()
    client.send(buy(CASH))
    assert client.rest() == b""
    sweep = "select exchange.give_back_orphans()"
    wait_until(lambda: connection.execute(sweep).fetchone() == (1,), "its reservation is back")
    nothing_is_held(gateway, connection)


def test_a_gateway_that_gives_nothing_back_is_found_out(
    gateway: Gateway, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Caller, "withdraw", lambda *_: None)
    break_database(connection, BREAK_AT_ONCE, RAISE)
    assert is_internal(gateway.ask(buy(CASH, "BAD"))[0])
    with pytest.raises(AssertionError):
        nothing_is_held(gateway, connection)
