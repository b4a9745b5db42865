"""The feed while the database doesn't answer it: nothing is lost, and subscribers are told that they are."""

import contextlib
from collections.abc import Iterator
from types import ModuleType

import psycopg
import pytest

from pgbourse.serve import feedbooks, feedfollowers, traffic
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.feeding import Feed
from tests.integration.test_feed import CREATE, trade

_END = """
    select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where datname = current_database() and application_name = %s
"""


@pytest.fixture
def market(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Two accounts with money and shares of X and Y; there are heartbeats all the time."""
    monkeypatch.setattr(traffic, "_HEARTBEAT", 0.1)
    gateway = start_gateway()
    gateway.ask(CREATE)
    return gateway


@pytest.fixture
def holder(database: str) -> Iterator[Session]:
    with contextlib.closing(psycopg.connect(database)) as session:
        yield session


def end_sessions(connection: Session, name: str) -> int:
    return connection.execute(_END, [name]).rowcount


def test_a_lost_session_loses_nothing(market: Gateway, connection: Session) -> None:
    feed = Feed(market.connect(), "X")
    feed.next()
    for limit in range(1, 6):
        assert end_sessions(connection, "pgbourse feed") == 1
        trade(market, 1, f'<order sym="X" amount="1" limit="{limit}"/>')
        assert feed.until_now(connection, "X").seq == limit
    assert feed.books["X"].snapshots == 1


def test_while_the_database_does_not_answer_there_are_heartbeats(
    market: Gateway, connection: Session, holder: Session
) -> None:
    feed, other = Feed(market.connect(), "X"), Feed(market.connect())
    feed.next()
    trade(market, 1, '<order sym="X" amount="1" limit="1"/>')
    feed.until_now(connection, "X")
    holder.execute("lock table exchange.symbols, exchange.updates in access exclusive mode")
    other.subscribe("X")
    for one in (feed, other):
        assert [next(one.documents()).tag for _ in range(3)] == ["heartbeat"] * 3
    holder.rollback()
    assert other.next().tag == "snapshot"
    trade(market, 1, '<order sym="X" amount="1" limit="1"/>')
    for one in (feed, other):
        one.until_now(connection, "X")


@pytest.mark.parametrize(
    ("module", "name"), [(feedfollowers, "format_updates"), (feedbooks, "format_snapshot")]
)
def test_an_unforeseen_error_closes_the_feeds_that_it_met(
    market: Gateway, connection: Session, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    """So they know, and can come again: a feed that stays open and silent would be the worst answer."""
    healthy = Feed(market.connect(), "X")
    healthy.next()
    trade(market, 1, '<order sym="X" amount="1" limit="1"/>')
    healthy.until_now(connection, "X")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        late = Feed(market.connect(), "X")
        if module is feedfollowers:
            late.next()
        trade(market, 1, '<order sym="X" amount="1" limit="1"/>')
        assert all(document.tag == "heartbeat" for document in late.documents())
    again = Feed(market.connect(), "X")
    assert again.until_now(connection, "X").seq == 2
    if module is feedbooks:  # who had the book goes on
        assert healthy.until_now(connection, "X").snapshots == 1


def test_a_stop_does_not_wait_for_a_database_that_does_not_answer(
    start_gateway: StartGateway, holder: Session
) -> None:
    gateway = start_gateway(drain_timeout=600)
    gateway.ask(CREATE)
    feed, waiting = Feed(gateway.connect(), "X"), Feed(gateway.connect())
    feed.next()
    holder.execute("lock table exchange.symbols, exchange.updates in access exclusive mode")
    waiting.subscribe("Y")
    waiting.subscribe("X")
    wait_until(lambda: gateway.traffic.held == 1, "the feed has its documents")
    gateway.server.stop()
    assert feed.line() == b""
    assert waiting.line().startswith(b"<error>the server is stopping: ")
    assert waiting.line() == b""
    holder.rollback()


def test_a_database_that_lacks_what_was_sent_is_followed_anew(market: Gateway, connection: Session) -> None:
    """As one that took over without the last commits, or a copy that was restored."""
    feed, late = Feed(market.connect(), "X"), Feed(market.connect())
    feed.next()
    for limit in (1, 2, 3):
        trade(market, 1, f'<order sym="X" amount="1" limit="{limit}"/>')
    feed.until_now(connection, "X")
    connection.execute("delete from exchange.updates where seq > 1")
    late.subscribe("X")  # the feed notices
    assert late.next().tag == "snapshot"
    assert feed.next().tag == "snapshot"
    assert (feed.books["X"].seq, late.books["X"].seq) == (1, 1)


def test_a_transaction_that_is_not_over_is_in_nobodys_feed(
    market: Gateway, connection: Session, holder: Session
) -> None:
    feed = Feed(market.connect(), "X", "Y")
    holder.execute("select * from exchange.place_order('2', 'X', 5, 1)")
    trade(market, 1, '<order sym="Y" amount="1" limit="1"/>')
    feed.until_now(connection, "Y")
    assert feed.until_now(connection, "X").seq == 0
    holder.rollback()
