"""The tests of followers fail on gateways that mislead them: otherwise they would prove nothing."""

from collections.abc import Callable

import pytest

from pgbourse.client import ReplyError
from tests.faults.cluster import Cluster
from tests.faults.conftest import StartGateway
from tests.faults.test_feed import (
    ALLOWED,
    Flood,
    Market,
    StartMarket,
    begin_often,
    cut,
    growth,
    kill_gateway,
    read_slowly,
    start_market,
    tell_and_kill,
)

__all__ = ["start_market"]  # a fixture

ATTEMPTS = 20


@pytest.mark.parametrize(
    ("mutant", "strike"),
    [
        ("tells_again_what_a_snapshot_had", begin_often),
        ("goes_on_with_what_comes_next", cut),
        ("resumes_one_too_early", kill_gateway),
        ("leaves_out_removals", cut),
    ],
)
def test_a_feed_that_misleads_is_found_out(
    start_market: StartMarket,
    mutant: str,
    strike: Callable[[Market], float | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.integration.client._GUARD", 10.0)
    with (  # at the comparison, or in the client itself
        pytest.raises((AssertionError, ReplyError)),
        start_market(mutant=mutant) as market,
    ):
        market.play_often(strike, ATTEMPTS)


def test_a_feed_that_tells_what_is_not_durable_is_found_out(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange), mutant="tells_what_is_not_durable")
    assert tell_and_kill(cluster, exchange, gateway, ATTEMPTS)


@pytest.mark.parametrize("mutant", ["queues_without_end", "forgets_who_is_late"])
def test_a_slow_follower_that_gets_no_new_book_is_found_out(
    cluster: Cluster,
    exchange: str,
    start_gateway: StartGateway,
    mutant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.integration.client._GUARD", 10.0)
    small = f"has_small_sockets,keeps_little_for_the_late,{mutant}"
    gateway = start_gateway("--database-url", cluster.dsn(exchange), mutant=small)

    def assert_right() -> None:
        flood = Flood(gateway)
        snapshots, problems = read_slowly(flood, gateway.address, lambda: cluster.connect(exchange))
        assert not problems
        assert snapshots

    with pytest.raises((AssertionError, ReplyError)):
        assert_right()


def test_followers_that_take_much_memory_are_found_out(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    small = "has_small_sockets,queues_without_end"
    gateway = start_gateway("--database-url", cluster.dsn(exchange), mutant=small)
    assert growth(Flood(gateway), gateway.address) > ALLOWED
