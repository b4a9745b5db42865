"""Two gateways and people with psql on one database at once: everything adds up, and nobody blocks anybody.

The same accounts trade in the same symbols through both gateways, so that what these do meets at the rows of
the accounts and at the symbols; the people trade in both symbols.
"""

import random
import re
from collections.abc import Callable
from contextlib import ExitStack
from itertools import product
from subprocess import Popen

from psycopg import sql

from tests.faults.cluster import Cluster
from tests.faults.conftest import StartGateway
from tests.faults.journal import Journal, disagreements
from tests.faults.scene import GatewayProcess, enter, integrity, rounds
from tests.faults.test_crashes import ways
from tests.faults.trader import Trader
from tests.integration.client import wait_until
from tests.sql.mutants import ACCOUNTS_AS_NAMED_SLOWLY, install

SYMBOLS = ("LEFT", "RIGHT")
ACCOUNTS = 5
PEOPLE = 3
CALLS = 200  # of each with psql

# What the server logs when sessions get in each other's way, or when anything else goes wrong. A gateway that
# has waited for a lock for a while does something else first, which is no trouble.
TROUBLE = re.compile(r"deadlock detected|could not serialize|(ERROR|FATAL|PANIC):(?!.*due to lock timeout)")


def psql_script(account: str) -> str:
    """Write calls of the API functions as somebody with psql makes them, each a transaction of its own."""
    choose = random.Random(account)
    lines = ["set role exchange_gateway;", f"select exchange.create_account('{account}', 1000000000);"]
    lines += [f"select exchange.grant_shares('{sym}', '{account}', 1000000);" for sym in SYMBOLS]
    for _ in range(CALLS):
        amount, limit = choose.choice((-1, 1)) * choose.randint(1, 9), choose.randint(98, 102)
        order = f"'{account}', '{choose.choice(SYMBOLS)}', {amount}, {limit}"
        others = (
            f"select exchange.cancel_order('{account}', :id);",
            f"select exchange.query_order('{account}', :id);",
            f"select exchange.settle_account('{account}');",
            "select exchange.settle_idle_accounts(100);",
        )
        lines += [f"select order_id as id from exchange.place_order({order}) \\gset", choose.choice(others)]
    return "\n".join(lines) + "\n"


def trade(
    cluster: Cluster, exchange: str, gateways: list[GatewayProcess], until: Callable[[int], bool]
) -> dict[str, Journal]:
    """Let everybody trade at once, and return what the gateways' clients were told, by symbol.

    It ends when `until` says so of the number of replies, and psql has done its calls.
    """
    seeds = random.Random(4)
    journals = {sym: Journal() for sym in SYMBOLS}
    crowd: list[Trader] = []
    people: list[Popen[str]] = []
    for gateway, sym in product(gateways, SYMBOLS):
        crowd += [enter(gateway, sym, f"8{number}", seeds) for number in range(ACCOUNTS)]
    with ExitStack() as stack:
        for trader in crowd:
            stack.callback(trader.stop)
            trader.start()
        for number in range(PEOPLE):
            people.append(cluster.psql(exchange, psql_script(f"9{number}")))
            stack.callback(people[-1].wait)
            stack.callback(people[-1].kill)
        wait_until(lambda: until(sum(trader.replies for trader in crowd)), "there was enough trade")
        assert [person.communicate(timeout=60)[1] for person in people] == [""] * PEOPLE
    for trader in crowd:
        journals[trader.sym].add(trader.journal)
    return journals


def trouble(cluster: Cluster, start: int) -> list[str]:
    """Return what the server has logged, from this place on, that it should not."""
    lines = cluster.log.read_bytes()[start:].decode(errors="replace").splitlines()
    return [line for line in lines if TROUBLE.search(line)]


def crossed(cluster: Cluster, exchange: str) -> list[object]:
    """Return the symbols with a buy whose limit is not below a sell's."""
    query = (
        "select sym from exchange.order_book group by sym having "
        "max(limit_price) filter (where side = 'buy') >= min(limit_price) filter (where side = 'sell')"
    )
    with cluster.connect(exchange) as session:
        return list(session.execute(query))


@ways
def test_two_gateways_and_psql_on_one_database(
    cluster: Cluster, exchange: str, start_gateway: StartGateway, lanes: str
) -> None:
    gateways = [start_gateway("--database-url", cluster.dsn(exchange), "--lanes", lanes) for _ in range(2)]
    logged = cluster.log.stat().st_size
    journals = trade(cluster, exchange, gateways, lambda replies: replies >= 50 * len(rounds(100)))
    with cluster.connect(exchange) as session:
        for sym, journal in journals.items():
            assert journal.count("answered") == len(journal.documents)
            assert not (problems := disagreements(session, sym, journal)), "\n".join(problems[:10])
        assert not (findings := integrity(session)), findings[:10]
    assert not crossed(cluster, exchange)
    assert not trouble(cluster, logged)


def test_locks_out_of_order_are_found_out(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    with cluster.connect(exchange) as session:
        install(session, ACCOUNTS_AS_NAMED_SLOWLY)
        database = sql.Identifier(exchange)
        session.execute(sql.SQL("alter database {} set deadlock_timeout = '20ms'").format(database))
    gateways = [start_gateway("--database-url", cluster.dsn(exchange), "--no-migrate") for _ in range(2)]
    logged = cluster.log.stat().st_size

    def is_found_out(_: int) -> bool:
        return any("deadlock detected" in line for line in trouble(cluster, logged))

    trade(cluster, exchange, gateways, is_found_out)
