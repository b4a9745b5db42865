"""What followers of books are told, whatever dies: everything, once, in order, and only what is durable.

Their own books, kept by what they are told, are those of the tables and those that other clients are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager

import psutil
import pytest

from pgbourse.client import Feed, Snapshot
from tests.faults.cluster import Cluster
from tests.faults.conftest import StartGateway
from tests.faults.follower import Follower, Session, differences, sight, updates_of
from tests.faults.proxy import Proxy
from tests.faults.resender import Resender
from tests.faults.scene import GatewayProcess, Scene, integrity, rounds
from tests.faults.test_crashes import ways
from tests.faults.trader import GUARD, Trader
from tests.faults.watcher import WATCHES, Watcher
from tests.integration.client import WireClient


class Market:
    """Two gateways, traders of every kind of order at both, and followers of all that they trade."""

    def __init__(
        self, cluster: Cluster, exchange: str, gateways: list[GatewayProcess], stack: ExitStack
    ) -> None:
        self.cluster = cluster
        self.exchange = exchange
        self.gateways = gateways
        self.scene = Scene(self.observe, *gateways, make=self._make)
        self.random = self.scene.random
        self.symbols: list[str] = []
        # The first follower's connection can be cut, by itself.
        self.proxy = stack.enter_context(Proxy(gateways[0].address))
        addresses = [("127.0.0.1", self.proxy.port), gateways[1].address, gateways[0].address]
        self.followers = [Follower(address) for address in addresses]
        self.watcher = Watcher(self.observe, gateways[1].address)
        with WireClient(gateways[0].address) as client:
            client.ask(b'<create><account id="%b" balance="1000000"/></create>' % WATCHES.encode())
        threads: list[Follower | Watcher] = [*self.followers, self.watcher]
        for one in threads:
            stack.callback(one.stop)
            one.start()

    def observe(self) -> Session:
        return self.cluster.connect(self.exchange)

    def play(self, strike: Callable[[], float | None]) -> None:
        """Trade in a new symbol, strike, do what traders don't, and compare."""

        def strike_while_one_begins() -> float | None:
            self.followers[-1].follow(self.symbols[-1])  # which the others follow already
            return strike()

        self.scene.play(strike_while_one_begins)
        sym = self.symbols[-1]
        with self.observe() as session:
            for _ in range(self.random.randint(0, 3)):
                self._disturb(session, sym)
        self.check(sym)

    def play_often(self, strike: Callable[[Market], float | None], times: int) -> None:
        """Play, and each time strike this market."""
        for _ in range(times):
            self.play(lambda: strike(self))

    def check(self, sym: str) -> None:
        """Compare what every follower was told of a symbol with the tables."""
        with self.observe() as session:
            now = sight(session, sym)
            sightings = [*self.watcher.sightings[sym], now]
            for follower in self.followers:
                follower.wait_for(sym, now.seq)
                updates = updates_of(session, sym, after=follower.values[sym][0].seq)
                problems = differences(follower.values[sym], updates, sightings)
                assert not problems, "\n".join(problems[:10])

    def check_again(self) -> None:
        """Compare everything that followers were told in all rounds once more."""
        self.scene.check_again()
        for sym in self.symbols:
            self.check(sym)

    def _make(self, _: GatewayProcess, account: str, sym: str, seed: int) -> Trader:
        if sym not in self.symbols:
            self.symbols.append(sym)
            self.watcher.watch(sym)
            for follower in self.followers[:-1]:
                follower.follow(sym)
        return Resender([gateway.address for gateway in self.gateways], account, sym, seed)

    def _disturb(self, session: Session, sym: str) -> None:
        """Do something to a book that no order does."""
        accounts = session.execute("select account_id from exchange.accounts order by account_key").fetchall()
        account = self.random.choice(accounts)[0]
        what = self.random.choice(["halt", "resume", "cancel all", "order"])
        if what in ("halt", "resume"):
            session.execute(f"select exchange.{what}_symbol(%s)", [sym])
        elif what == "order":
            session.execute("select exchange.place_order(%s, %s, 2, 100)", [WATCHES, sym])
        else:
            session.execute("select * from exchange.cancel_all_orders(%s)", [account])


StartMarket = Callable[..., AbstractContextManager[Market]]


@pytest.fixture
def start_market(cluster: Cluster, exchange: str, start_gateway: StartGateway) -> StartMarket:
    @contextmanager
    def start(lanes: str = "2", mutant: str | None = None) -> Iterator[Market]:
        options = ("--database-url", cluster.dsn(exchange), "--lanes", lanes)
        gateways = [start_gateway(*options, mutant=mutant) for _ in range(2)]
        with ExitStack() as stack:
            yield Market(cluster, exchange, gateways, stack)

    return start


def kill_gateway(market: Market) -> None:
    gateway = market.random.choice(market.gateways)
    gateway.end()
    gateway.start()


def kill_postgres(market: Market) -> float:
    """Kill all of PostgreSQL, or one session of a gateway's worker or feed; then all others end as well."""
    cluster = market.cluster
    if market.random.random() < 0.5:
        cluster.kill()
        cluster.start()
        return cluster.wait_until_ready()
    with closing(cluster.connect()) as session:
        rows = session.execute(
            "select pid from pg_stat_activity where application_name like %s and datname = %s",
            [market.random.choice(["pgbourse worker%", "pgbourse feed%"]), market.exchange],
        ).fetchall()
        psutil.Process(market.random.choice(rows)[0]).kill()
    return cluster.wait_until_ready()


def cut(market: Market) -> None:
    market.proxy.cut()
    market.proxy.restore()


def begin_often(market: Market) -> None:
    """Follow what is being traded from one moment after the other; raises what is wrong there."""
    for _ in range(20):
        with Feed(*market.gateways[0].address, timeout=GUARD) as feed:
            feed.subscribe(market.symbols[-1])
            assert isinstance(next(feed), Snapshot)
            for _ in range(3):
                feed.receive(0.1)


@ways
def test_gateways_that_are_killed(start_market: StartMarket, lanes: str) -> None:
    with start_market(lanes) as market:
        market.play_often(kill_gateway, len(rounds(25)))
        market.check_again()
        assert sum(follower.resumptions for follower in market.followers) > 0


@ways
def test_a_postgresql_that_is_killed(start_market: StartMarket, lanes: str) -> None:
    with start_market(lanes) as market:
        market.play_often(kill_postgres, len(rounds(25)))
        market.check_again()


def test_a_follower_whose_connection_is_cut(start_market: StartMarket) -> None:
    with start_market() as market:
        for number in rounds(25):
            market.play(lambda: cut(market))
            assert market.followers[0].resumptions > number
        market.check_again()


def test_followers_that_begin_at_any_moment(start_market: StartMarket) -> None:
    with start_market() as market:
        market.play_often(begin_often, len(rounds(10)))


def tell_and_kill(cluster: Cluster, exchange: str, gateway: GatewayProcess, times: int) -> list[str]:
    """Kill PostgreSQL whenever a follower was told of something; return what is wrong with what it was told.

    Nobody but the feed itself has a reason to wait until that is durable.
    """
    with cluster.connect() as session:
        session.execute("alter system set wal_writer_delay = '10s'")
        session.execute("select pg_reload_conf()")
    with cluster.connect(exchange) as session:
        session.execute("select exchange.create_account('7', 1000000)")
        session.execute("select exchange.create_symbol('TOLD')")
    follower = Follower(gateway.address)
    with ExitStack() as stack:
        stack.callback(follower.stop)
        follower.start()
        follower.follow("TOLD")
        follower.wait_for("TOLD", 0)
        for number in range(1, times + 1):
            with closing(cluster.connect(exchange)) as session:
                session.execute("set synchronous_commit = off")
                session.execute("select exchange.place_order('7', 'TOLD', 1, 1)")
                follower.wait_for("TOLD", number)
                cluster.kill()
            cluster.start()
            cluster.wait_until_ready()
            with cluster.connect(exchange) as session:
                problems = differences(follower.values["TOLD"], updates_of(session, "TOLD", 0), [])
                if problems:
                    return problems
    return []


def test_what_was_told_is_durable(cluster: Cluster, exchange: str, start_gateway: StartGateway) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange))
    assert tell_and_kill(cluster, exchange, gateway, len(rounds(25))) == []


class Flood:
    """A client whose orders and cancellations make so many bytes of updates that slow readers come late."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        document = '<create><account id="7" balance="100000000"/><symbol sym="FLOOD"/></create>'
        with WireClient(gateway.address) as client:
            client.ask(document.encode())
        orders = "".join(
            f'<order sym="FLOOD" amount="1.{number:020}" limit="9.{number:020}"/>' for number in range(500)
        )
        self._document = f'<transactions id="7">{orders}</transactions>'.encode()
        self._cancel = b'<transactions id="7"><cancel all="true"/></transactions>'

    def flow(self, megabytes: float) -> None:
        """Make so many bytes of updates, at least, and leave some orders in the book."""
        each = 500 * 150  # of a document and its cancellations
        with WireClient(self._gateway.address) as client:
            for _ in range(int(megabytes * 1_000_000 / each) + 1):
                client.ask_bytes(self._cancel)
                assert b"<error" not in client.ask_bytes(self._document)

    def memory(self) -> int:
        """Bytes that the gateway has in memory."""
        assert self._gateway.process is not None
        return int(psutil.Process(self._gateway.process.pid).memory_info().rss)


# What the kernel holds for a connection, and the gateway; the rest is too late.
KERNEL = 4.5
SLOW = 10


def read_slowly(
    flood: Flood, address: tuple[str, int], observe: Callable[[], Session]
) -> tuple[int, list[str]]:
    """Let a follower sleep while much happens, twice, and return how many snapshots it got, and problems."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(address, receive_buffer=4096))
        slow, steady = Follower(("127.0.0.1", proxy.port)), Follower(address)
        for follower in (slow, steady):
            stack.callback(follower.stop)
            follower.start()
            follower.follow("FLOOD")
            follower.wait_for("FLOOD", 0)
        for _ in range(2):
            proxy.stall()
            flood.flow(0.6)
            proxy.restore()
            flood.flow(0.1)
            with observe() as session:
                now = sight(session, "FLOOD")
                for follower in (slow, steady):
                    follower.wait_for("FLOOD", now.seq)
                    values = follower.values["FLOOD"]
                    updates = updates_of(session, "FLOOD", after=values[0].seq)
                    if problems := differences(values, updates, [now], may_skip=True):
                        return slow.snapshots, problems
        return slow.snapshots, []


def test_a_follower_that_sleeps_gets_a_new_book(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(
        "--database-url", cluster.dsn(exchange), mutant="has_small_sockets,keeps_little_for_the_late"
    )
    flood = Flood(gateway)
    snapshots, problems = read_slowly(flood, gateway.address, lambda: cluster.connect(exchange))
    assert not problems, "\n".join(problem[:1000] for problem in problems[:10])
    assert snapshots >= 2


def growth(flood: Flood, address: tuple[str, int]) -> int:
    """Return by how many bytes a gateway grows while followers read nothing at all."""
    flood.flow(0.3)
    with ExitStack() as stack:
        for _ in range(SLOW):
            client = stack.enter_context(WireClient(address, receive_buffer=4096))
            client.send(b'<subscribe sym="FLOOD"/>')
        flood.flow(0.5)
        before = flood.memory()
        flood.flow(2)
        return flood.memory() - before


# They may have a quarter of a megabyte each, which they share, and what is kept for those who are late.
# Without a bound, two megabytes come for each.
ALLOWED = 8_000_000


def test_followers_that_read_nothing_take_little_memory(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange), mutant="has_small_sockets")
    flood = Flood(gateway)
    assert growth(flood, gateway.address) < ALLOWED
    with cluster.connect(exchange) as session:
        assert not integrity(session)
