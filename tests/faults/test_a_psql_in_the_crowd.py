"""Somebody with psql comes while 128 clients trade through two gateways: places, queries and cancels."""

import random
from contextlib import ExitStack
from itertools import product

from tests.faults.cluster import Cluster
from tests.faults.conftest import StartGateway
from tests.faults.journal import Journal, disagreements
from tests.faults.scene import enter, integrity
from tests.faults.test_two_gateways import CALLS, SYMBOLS, crossed, psql_script, trouble
from tests.faults.trader import Trader
from tests.integration.client import wait_until

ACCOUNTS = 32  # of which each trades through both gateways, in both symbols


def test_one_psql_among_128_clients(cluster: Cluster, exchange: str, start_gateway: StartGateway) -> None:
    gateways = [start_gateway("--database-url", cluster.dsn(exchange), "--lanes", "2") for _ in range(2)]
    logged = cluster.log.stat().st_size
    seeds = random.Random(5)
    crowd: list[Trader] = []
    for gateway, sym, number in product(gateways, SYMBOLS, range(ACCOUNTS)):
        crowd.append(enter(gateway, sym, f"8{number}", seeds))
    assert len(crowd) == 128
    with ExitStack() as stack:
        for trader in crowd:
            stack.callback(trader.stop)
            trader.start()
        wait_until(lambda: all(trader.replies for trader in crowd), "everybody trades")
        before = [trader.replies for trader in crowd]
        somebody = cluster.psql(exchange, psql_script("90"))
        stack.callback(somebody.wait)
        stack.callback(somebody.kill)
        _, errors = somebody.communicate(timeout=120)
        assert (somebody.returncode, errors) == (0, "")
        assert all(trader.replies > count for trader, count in zip(crowd, before, strict=True))
    journals = {sym: Journal() for sym in SYMBOLS}
    for trader in crowd:
        journals[trader.sym].add(trader.journal)
    with cluster.connect(exchange) as session:
        placed = "select count(*) from exchange.orders natural join exchange.accounts where account_id = '90'"
        assert session.execute(placed).fetchone() == (CALLS,)
        for sym, journal in journals.items():
            assert journal.count("answered") == len(journal.documents)
            assert not (problems := disagreements(session, sym, journal)), "\n".join(problems[:10])
        assert not (findings := integrity(session)), findings[:10]
    assert not crossed(cluster, exchange)
    assert not trouble(cluster, logged)
