"""A feed while commits wait for their standby: nobody is told of what a failover may lose.

What the traders do commits at once and can be seen by everybody; only what is said of it waits.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults.cluster import Cluster, Session
from tests.faults.conftest import StartGateway
from tests.faults.scene import GatewayProcess
from tests.faults.test_waiting_commits import has_more, release, session, waiting_commit
from tests.integration.client import WireClient, wait_until
from tests.integration.feeding import Feed

__all__ = ["session"]  # a fixture

WAITS = """
    select pid from pg_stat_activity
    where wait_event = 'SyncRep' and datname = current_database() and application_name = 'pgbourse feed'
"""


def waits(session: Session) -> list[int]:
    return [pid for (pid,) in session.execute(WAITS)]


def is_read_again(session: Session, before: list[int]) -> bool:
    """Say whether it is another session that waits now."""
    now = waits(session)
    return bool(now) and not set(now) & set(before)


def newest(session: Session) -> int:
    """Return the number of X's newest update, which anybody can see in the tables."""
    row = session.execute("select seq from exchange.updates order by seq desc limit 1").fetchone()
    assert row is not None
    return int(row[0])


def told(feed: Feed) -> int:
    """Read what has come, and return the number of the newest update in it; -1 if nothing has."""
    while has_more(feed.client):
        feed.next()
    return feed.books["X"].seq if feed.books else -1


@contextmanager
def waiting_feeds(session: Session, gateway: GatewayProcess) -> Iterator[tuple[Feed, Feed, int]]:
    """Give one that began before a commit waited, one that begins meanwhile, and what neither may be told."""
    session.execute("select exchange.create_symbol('X')")
    with ExitStack() as stack:
        early = Feed(stack.enter_context(WireClient(gateway.address)), "X")
        early.next()
        stack.enter_context(waiting_commit(session, gateway))
        last = newest(session)
        wait_until(lambda: waits(session) or told(early) >= last, "the feed has read it")
        late = Feed(stack.enter_context(WireClient(gateway.address)), "X")
        yield early, late, last


def nothing_is_told_before(session: Session, gateway: GatewayProcess) -> None:
    with waiting_feeds(session, gateway) as (early, late, last):
        assert told(early) < last
        assert told(late) == -1
        release(session)
        assert early.until("X", last).snapshots == 1
        assert late.until("X", last).snapshots == 1


def nothing_is_told_when_the_wait_is_ended(session: Session, gateway: GatewayProcess) -> None:
    """Somebody cancels it: PostgreSQL says that it may not be on the standby, and so it is read again."""
    with waiting_feeds(session, gateway) as (early, late, last):
        before = waits(session)
        session.execute("select pg_cancel_backend(pid) from unnest(%s::integer[]) as pid", [before])
        wait_until(lambda: told(early) >= last or is_read_again(session, before), "it is read again")
        assert told(early) < last
        assert told(late) == -1
        release(session)
        assert early.until("X", last).snapshots == 1
        late.until("X", last)


Claim = Callable[[Session, GatewayProcess], None]
CLAIMS = [nothing_is_told_before, nothing_is_told_when_the_wait_is_ended]


@pytest.mark.parametrize("claim", CLAIMS)
def test_nothing_is_told_before_the_standby_has_it(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway, claim: Claim
) -> None:
    claim(session, start_gateway("--database-url", cluster.dsn(exchange)))


@pytest.mark.parametrize(
    ("mutant", "claim"),
    [
        ("tells_what_is_not_durable", nothing_is_told_before),
        ("is_deaf_to_warnings", nothing_is_told_when_the_wait_is_ended),
    ],
)
def test_a_feed_that_tells_it_is_found_out(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway, mutant: str, claim: Claim
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange), mutant=mutant)
    with pytest.raises(AssertionError):
        claim(session, gateway)
