"""The page's file and its stream of events: what they tell, who may look, and what looking costs."""

import base64
import contextlib
import hashlib
import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

import pgbourse.serve.looks
import pgbourse.serve.viewers
from pgbourse.serve.health import HealthServer
from pgbourse.serve.listener import listen
from pgbourse.serve.sessions import SharedPool
from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Gateway, Session, StartGateway, StartService

CREATE = (
    b'<create><account id="1" balance="10000"/><account id="2" balance="10000"/><symbol sym="SPY">'
    b'<account id="1">100</account><account id="2">100</account></symbol><symbol sym="X"/></create>'
)


class Stream:
    """A viewer, who reads what comes and keeps the newest of each kind."""

    def __init__(self, address: tuple[str, int], query: str = "", receive_buffer: int | None = None) -> None:
        self.connection = http.client.HTTPConnection(*address, timeout=60)
        if receive_buffer is not None:
            self.connection.sock = socket.socket()
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.connection.sock.connect(address)
        self.connection.request("GET", f"/events?{query}")
        self.reply = self.connection.getresponse()
        self.status = self.reply.status
        self.newest: dict[str, Any] = {}
        self.count = 0

    def next(self) -> bool:
        """Read one event; False at the end of the stream."""
        name, data = self.reply.readline(), self.reply.readline()
        if not data:
            return False
        assert (name[:7], data[:6], self.reply.readline()) == (b"event: ", b"data: ", b"\n")
        self.newest[name[7:-1].decode()] = json.loads(data[6:])
        self.count += 1
        return True

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Read until what is told is so. The connection's time-out is the guard."""
        while not (len(self.newest) and condition(self.newest)):
            assert self.next(), f"the stream has ended: {self.newest}"
        return self.newest

    def close(self) -> None:
        self.reply.close()
        self.connection.close()


class Looked:
    """A gateway with its page, and those who look."""

    def __init__(self, gateway: Gateway, health: HealthServer, pool: SharedPool) -> None:
        self.gateway = gateway
        self.health = health
        self.pool = pool
        self.viewers = health.viewers
        self.stack = contextlib.ExitStack()

    def look(self, query: str = "", receive_buffer: int | None = None) -> Stream:
        stream = Stream(self.health.address, query, receive_buffer)
        self.stack.callback(stream.close)
        return stream

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.health.address, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            reply = connection.getresponse()
            return reply.status, dict(reply.getheaders()), reply.read()

    def count(self) -> int:
        assert self.viewers is not None
        return self.viewers.count


StartPage = Callable[..., Looked]


@pytest.fixture
def start_page(start_gateway: StartGateway, database: str) -> Iterator[StartPage]:
    with contextlib.ExitStack() as stack:

        def start(most: int = 5) -> Looked:
            gateway = start_gateway(http_port=0)
            pool = stack.enter_context(SharedPool(database, 2))
            health = HealthServer(listen("127.0.0.1", 0), gateway.server, pool, "15.1", most_viewers=most)
            health.start()
            stack.callback(health.stop)
            looked = Looked(gateway, health, pool)
            stack.callback(looked.stack.close)
            return looked

        yield start


@pytest.fixture
def page(start_page: StartPage) -> Looked:
    looked = start_page()
    looked.gateway.ask(CREATE)
    return looked


def trade(page: Looked, shares: int, price: str, offered: int = 0) -> None:
    """Offer shares, so many or more, and buy these."""
    amount = offered or shares
    page.gateway.ask(
        f'<transactions id="1"><order sym="SPY" amount="-{amount}" limit="{price}"/></transactions>'.encode()
    )
    page.gateway.ask(
        f'<transactions id="2"><order sym="SPY" amount="{shares}" limit="{price}"/></transactions>'.encode()
    )


def told(connection: Session, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def bars_of(connection: Session, seconds: int) -> list[list[Any]]:
    query = (
        "select extract(epoch from began_at)::float8, open::text, high::text, low::text, close::text, "
        "volume::text, trades from exchange.bars('SPY', make_interval(secs => %s))"
    )
    return [list(row) for row in connection.execute(query.encode(), [seconds])]


# --- what is told -------------------------------------------------------------------------------------------


def test_a_viewer_is_told_what_sql_tells_and_again_after_each_change(
    page: Looked, connection: Session
) -> None:
    stream = page.look("sym=SPY&bars=60")
    first = stream.until(lambda newest: {"market", "book", "tape", "bars", "pulse"} <= newest.keys())
    assert first["market"] == {
        "count": 2,
        "symbols": [["SPY", False, None, None, None, None], ["X", False, None, None, None, None]],
    }
    assert first["book"] == {"sym": "SPY", "seq": 0, "halted": False, "buy": [], "sell": []}
    assert first["tape"] == {"sym": "SPY", "trades": []}
    assert first["bars"] == {"sym": "SPY", "seconds": 60, "bars": []}
    trade(page, 3, "145.50", offered=7)
    page.gateway.ask(b'<transactions id="1"><order sym="SPY" amount="2" limit="140"/></transactions>')
    news = stream.until(
        lambda newest: newest["book"]["buy"] and newest["bars"]["bars"] and newest["market"]["symbols"][0][4]
    )
    assert news["book"] == {
        "sym": "SPY",
        "seq": 3,
        "halted": False,
        "buy": [["140", "2", 1]],
        "sell": [["145.5", "4", 1]],
    }
    at = told(
        connection, "select round(extract(epoch from executed_at), 6)::float8 from exchange.tape('SPY')"
    )
    assert news["tape"]["trades"] == [[1, at, "buy", "3", "145.5"]]
    assert news["bars"]["bars"] == bars_of(connection, 60)
    assert news["market"]["symbols"][0] == ["SPY", False, "145.5", "145.5", "140", "145.5"]


def test_bars_that_are_over_are_not_asked_for_again(page: Looked, connection: Session) -> None:
    """A bar of the past stays as it was told, and a new one joins it."""
    trade(page, 3, "10")
    stream = page.look("sym=SPY&bars=1")
    stream.until(lambda newest: newest.get("bars", {}).get("bars"))
    for price in ("11", "12"):
        began = told(connection, "select date_trunc('second', now())")
        is_over = f"select now() > '{began}'::timestamptz + interval '1 s'"
        wait_until(lambda is_over=is_over: told(connection, is_over), "another second has begun")  # type: ignore[misc]
        trade(page, 4, price)
        while not (bars := stream.newest["bars"]["bars"]) or bars[-1][4] != price:
            assert stream.next()
    assert len(stream.newest["bars"]["bars"]) == 3
    assert stream.newest["bars"]["bars"] == bars_of(connection, 1)


def test_the_market_is_told_without_a_symbol(page: Looked) -> None:
    stream = page.look()
    news = stream.until(lambda newest: "market" in newest and "pulse" in newest)
    assert news.keys() == {"market", "pulse"}
    trade(page, 1, "9")
    stream.until(lambda newest: newest["market"]["symbols"][0][2] == "9")


def test_a_symbol_that_is_not_there_is_told_so_until_it_is(page: Looked) -> None:
    stream = page.look("sym=NEW")
    assert stream.until(lambda newest: "book" in newest)["book"] == {"sym": "NEW", "unknown": True}
    page.gateway.ask(b'<create><symbol sym="NEW"/></create>')
    news = stream.until(lambda newest: "unknown" not in newest["book"])
    assert news["book"]["seq"] == 0


def test_a_halt_is_told(page: Looked, connection: Session) -> None:
    stream = page.look("sym=SPY")
    stream.until(lambda newest: "book" in newest)
    connection.execute("select exchange.halt_symbol('SPY')")
    stream.until(lambda newest: newest["market"]["symbols"][0][1] is True)


def test_the_pulse_tells_of_orders_and_of_latency(page: Looked) -> None:
    stream = page.look()
    stream.until(lambda newest: newest.get("pulse", {}).get("orders") is not None)
    assert stream.newest["pulse"]["orders"] == 0
    trade(page, 1, "5")
    news = stream.until(lambda newest: newest["pulse"]["orders"])["pulse"]
    assert 0 < news["p50"] <= news["p99"] < 60
    assert (news["fresh"], news["stopping"], news["writes"], news["processes"]) == (True, False, True, 1)
    assert news["viewers"] == 1
    assert 1 <= news["batch"] <= 2
    stream.until(lambda newest: newest["pulse"]["orders"] == 0)


def test_a_database_that_is_away_is_told_and_what_it_told_stays(
    page: Looked, database: str, connection: Session
) -> None:
    trade(page, 1, "5")
    stream = page.look("sym=SPY")
    stream.until(lambda newest: newest.get("tape", {}).get("trades") and newest["pulse"]["fresh"])
    name = connection.info.dbname
    with psycopg.connect(database, dbname="postgres", autocommit=True) as other:
        forbid = sql.SQL("alter database {} with allow_connections {}")
        other.execute(forbid.format(sql.Identifier(name), sql.SQL("false")))
        other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        stream.until(lambda newest: not newest["pulse"]["fresh"])
        # Who comes now sees the same.
        late = page.look("sym=SPY").until(lambda newest: {"pulse", "tape"} <= newest.keys())
        assert late["tape"] == stream.newest["tape"]
        other.execute(forbid.format(sql.Identifier(name), sql.SQL("true")))
    stream.until(lambda newest: newest["pulse"]["fresh"])
    trade(page, 1, "6")
    stream.until(lambda newest: newest["tape"]["trades"][0][4] == "6")


def test_nothing_is_told_that_may_be_lost(page: Looked, connection: Session) -> None:
    """What has committed is seen in SQL while it waits for a standby; the page tells it when it is safe."""
    waiting = (
        "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database() "
        "and application_name = 'pgbourse housekeeping'"
    )
    executions = "select count(*) from exchange.executions"
    stream = page.look("sym=SPY")
    stream.until(lambda newest: {"book", "tape", "pulse"} <= newest.keys())
    connection.execute("set synchronous_commit = local")

    def is_stuck(newest: dict[str, Any]) -> bool:
        """Trade once more, for the server begins to wait for standbys a little after it was told to."""
        connection.execute(
            "select exchange.place_order('1', 'SPY', -1, 5), exchange.place_order('2', 'SPY', 1, 5)"
        )
        return newest["pulse"]["fresh"] is False

    try:
        connection.execute("alter system set synchronous_standby_names = 'nobody'")
        connection.execute("select pg_reload_conf()")
        stream.until(is_stuck)
        assert len(stream.newest["tape"]["trades"]) < told(connection, executions)
        # What is given up doesn't pile up in the server.
        stream.next()
        wait_until(lambda: told(connection, waiting) <= 1, "what isn't waited for is over")
    finally:
        connection.execute("alter system reset synchronous_standby_names")
        connection.execute("select pg_reload_conf()")
    newest_of_all = told(connection, "select max(execution_id) from exchange.executions")
    stream.until(
        lambda newest: newest["tape"]["trades"][:1] and newest["tape"]["trades"][0][0] == newest_of_all
    )


# --- who may look, and what it costs ------------------------------------------------------------------------


def test_the_file_needs_nothing_from_elsewhere_and_may_load_nothing(page: Looked) -> None:
    status, headers, body = page.get("/")
    text = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", f"script-src 'sha256-{digest}'", "connect-src 'self'"} <= set(policy)
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in headers["Content-Security-Policy"]
    # But for the name of a namespace.
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert page.get("/", "HEAD") == (status, headers, b"")
    assert page.get("/", "POST")[0] == 501
    assert page.get("/events", "HEAD")[0] == 200
    assert page.count() == 0


def test_without_viewers_there_is_no_page(start_page: StartPage) -> None:
    none = start_page(most=0)
    assert none.get("/")[0] == none.get("/events")[0] == 404
    assert none.get("/healthz")[0] == 200


@pytest.mark.parametrize("query", ["bars=7", "bars=", "bars=x", "sym=" + "X" * 256, "sym=a%00b", "sym=%0a"])
def test_what_cant_be_shown_is_refused(page: Looked, query: str) -> None:
    assert page.get(f"/events?{query}")[0] == 400
    assert page.count() == 0


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:12346", "[::1]:1", "page.localhost", "10.1.2.3"]
)
def test_the_page_answers_to_addresses_and_to_localhost(page: Looked, host: str) -> None:
    assert page.get("/", Host=host)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [{"Host": "rebound.example"}, {"Host": "localhost.example:12346"}, {"Host": ""}]
    + [{"Origin": origin} for origin in ("http://other.example", "http://127.0.0.1:1", "null")],
    ids=lambda headers: " ".join(map(str, headers.items())),
)
def test_other_peoples_pages_get_nothing(page: Looked, headers: dict[str, str]) -> None:
    for path in ("/", "/events"):
        assert page.get(path, **headers)[0] == 421
    assert page.count() == 0
    assert page.get("/metrics", **headers)[0] == 200  # Prometheus may call it what it likes


def test_only_so_many_may_look_and_a_place_is_free_again(start_page: StartPage) -> None:
    page = start_page(most=2)
    streams = [page.look(), page.look()]
    assert page.count() == 2
    status, headers, _ = page.get("/events")
    assert (status, headers["Retry-After"]) == (503, "5")
    streams[0].close()
    wait_until(lambda: page.count() == 1, "who has gone is noticed")
    assert page.look().status == 200


def test_many_who_look_leave_metrics_and_health_checks_alone(start_page: StartPage) -> None:
    """There are 16 slots for requests."""
    page = start_page(most=40)
    streams = [page.look() for _ in range(40)]
    assert [stream.status for stream in streams] == [200] * 40
    assert page.get("/healthz")[0] == page.get("/readyz")[0] == page.get("/metrics")[0] == 200
    for stream in streams:
        stream.until(lambda newest: "market" in newest)


def metric(page: Looked, name: str) -> float:
    found = re.search(rf"^pgbourse_{name} (\S+)$", page.get("/metrics")[2].decode(), re.MULTILINE)
    assert found, name
    return float(found[1])


def test_those_who_look_are_counted(page: Looked) -> None:
    assert metric(page, "page_viewers") == metric(page, "feed_subscribers") == 0
    stream = page.look()
    assert metric(page, "page_viewers") == 1
    stream.close()
    wait_until(lambda: metric(page, "page_viewers") == 0, "who has gone is not counted")
    follower = page.gateway.connect()
    follower.send(b'<subscribe sym="SPY"/>')
    wait_until(lambda: metric(page, "feed_snapshots_total") == 1, "it has been told the book")
    assert metric(page, "feed_subscribers") == 1
    trade(page, 1, "5")
    wait_until(lambda: metric(page, "feed_updates_total") == 2, "an order and a trade have been told")
    assert metric(page, "feed_late_snapshots_total") == 0


def test_the_page_of_several_processes_is_their_parents(database: str, start_service: StartService) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = start_service("--database-url", database, "--processes", "2", "--http-port", str(port))
    with WireClient(service.address) as one, WireClient(service.address) as other:
        one.ask(CREATE)
        stream = Stream(("127.0.0.1", port), "sym=SPY")
        news = stream.until(lambda newest: {"book", "pulse"} <= newest.keys())
        assert (news["pulse"]["processes"], news["book"]["seq"]) == (2, 0)
        assert news["pulse"]["connections"] == 2
        order = '<transactions id="1"><order sym="SPY" amount="1" limit="{}"/></transactions>'
        for number, client in enumerate((one, other), 1):
            client.ask(order.format(number).encode())
        stream.until(lambda newest: newest["book"]["buy"] == [["2", "1", 1], ["1", "1", 1]])
        stream.until(lambda newest: newest["pulse"]["orders"])
    # A drain takes as long as it takes; then the stream ends.
    service.process.terminate()
    while stream.next():
        pass
    stream.close()
    assert service.end()[0] == 0


def test_nothing_is_read_while_nobody_looks(page: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []
    assert page.viewers is not None
    select = page.viewers._selector.select

    def note(timeout: float | None = None) -> Any:
        waits.append(timeout)
        return select(timeout)

    monkeypatch.setattr(page.viewers._selector, "select", note)
    stream = page.look("sym=SPY")
    stream.until(lambda newest: {"book", "market", "pulse"} <= newest.keys())
    stream.close()
    wait_until(lambda: page.count() == 0 and waits[-1] is None, "it waits for somebody, however long")
    assert page.pool.get_stats()["requests_num"] > 0
    assert any(timeout is not None for timeout in waits)


def test_a_viewer_who_reads_nothing_is_dropped_and_nothing_queues_up(
    page: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgbourse.serve.viewers, "_SLOW", 0.5)
    monkeypatch.setattr(pgbourse.serve.viewers, "_SEND_BUFFER", 2048)
    monkeypatch.setattr(pgbourse.serve.looks, "_BOOK_SECONDS", 0.0)
    monkeypatch.setattr(pgbourse.serve.looks, "_REST", 0)
    page.gateway.ask(b'<create><symbol sym="SPY"><account id="1">10000</account></symbol></create>')
    reader, sleeper = page.look("sym=SPY"), page.look("sym=SPY", receive_buffer=2048)
    assert page.viewers is not None
    most = 0
    for number in range(2000):
        trade(page, 1, f"0.{10 + number % 50}")  # both can afford all of them
        reader.next()
        most = max([most, *(len(viewer.unsent) for viewer in page.viewers._viewers)])
        if page.count() == 1:
            break
    assert page.count() == 1
    assert most < 20_000
    assert sleeper.status == 200
    count = reader.count
    trade(page, 1, "7.25")
    reader.until(lambda newest: newest["tape"]["trades"][0][4] == "7.25")
    assert reader.count > count


def test_a_stop_ends_streams_at_once(page: Looked) -> None:
    stream = page.look("sym=SPY")
    stream.until(lambda newest: "book" in newest)
    page.health.stop()
    while stream.next():
        pass
    assert page.count() == 0
