"""Fixtures of the tests that call the SQL functions directly."""

import random

import pytest

from tests.sql.market import Connection, Market
from tests.sql.trading import KINDS, Trading, names


@pytest.fixture
def market(connection: Connection) -> Market:
    """The exchange in the test's own database, empty."""
    return Market(connection)


@pytest.fixture
def varied(market: Market) -> Market:
    """A market after some hundred requests of every kind, by three accounts in two symbols."""
    for account in ("1", "2", "3"):
        market.account(account, 50000)
        for sym in ("S1", "S2"):
            market.grant(account, sym, "300.5")
    trading = Trading(
        random.Random(6), names(3), names(2, "S"), set(KINDS) - {"cancel_all", "switch", "look"}
    )
    for _ in range(25):
        newest = market.connection.execute("select max(order_id) from exchange.orders").fetchone()
        market.batch(trading.batch(30, (newest and newest[0]) or 1))
    return market
