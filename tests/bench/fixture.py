"""What the exchange of the pytest fixture costs a test: python -m tests.bench.fixture

In turns: emptying it as it does, and by truncating every table that has rows; and a request that goes through
its network, and one that goes through another like it besides: what they differ by is what the network costs.
Milliseconds, medians.
"""

import os
import statistics
import time
from collections.abc import Callable

import psycopg
import pytest

from pgbourse.client import Client, NewAccount, NewSymbol
from pgbourse.testing import Exchange, emptying, open_exchange
from pgbourse.testing.emptying import Emptier
from pgbourse.testing.network import Network

_ROUNDS = 60
_LOOK = b'<transactions id="1"><query id="1"/></transactions>'


def main() -> None:
    os.environ["PGBOURSE_TEST_EXCHANGE"] = "embedded"
    with open_exchange() as exchange:
        assert exchange.database_url is not None
        with psycopg.connect(exchange.database_url, autocommit=True) as connection:
            _tell(_emptying(exchange, Emptier(connection)))
        _tell(_asking(exchange))


def _emptying(exchange: Exchange, empty: Emptier) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {"emptied": [], "emptied by truncating": []}
    for number in range(2 * _ROUNDS):
        truncates = number % 2 == 1
        _trade(exchange)
        with pytest.MonkeyPatch.context() as patch:
            if truncates:
                patch.setattr(emptying, "_SMALL", -1)
            taken["emptied by truncating" if truncates else "emptied"].append(_milliseconds(empty))
    return taken


def _asking(exchange: Exchange) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {"a reply through its network": [], "a reply through two": []}
    with Network(lambda: exchange.address) as second, Client("127.0.0.1", second.port) as through_two:
        for number in range(20 * _ROUNDS):
            client, what = [
                (exchange.client, "a reply through its network"),
                (through_two, "a reply through two"),
            ][number % 2]
            taken[what].append(_milliseconds(lambda client=client: client.ask_raw(_LOOK)))  # type: ignore[misc]
    return taken


def _trade(exchange: Exchange) -> None:
    """Put something into every table that trading writes."""
    client = exchange.connect()
    client.create(NewAccount("1", 1000), NewAccount("2", 1000), NewSymbol("X"))
    client.grant_shares("X", "1", 10)
    client.place_order("1", "X", -5, 2)
    client.cancel_order("2", client.place_order("2", "X", 7, 2).order_id)
    exchange.close_clients()


def _milliseconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def _tell(taken: dict[str, list[float]]) -> None:
    for what, times in taken.items():
        print(f"{what}: {statistics.median(times):.2f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
