"""Clients that mean ill, or are broken: the gateway stays small, says what is wrong, and serves the others.

The gateway is a process of its own here, so that its memory can be measured. The time that a client may take
is tested with a clock of the test's own in tests/integration/test_limits.py.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from pgbourse.serve.service import allow_open_files
from pgbourse.wire.messages import MAX_CHILDREN
from tests.faults.conftest import StartGateway
from tests.faults.scene import GatewayProcess, integrity
from tests.integration.client import WireClient, length_line, wait_until

MB = 1024 * 1024
CREATE = (
    b'<create><account id="1" balance="1000"/><account id="2" balance="1000"/>'
    b'<symbol sym="X"><account id="1">500</account><account id="2">500</account></symbol></create>'
)
ORDER = b'<transactions id="1"><order sym="X" amount="1" limit="1"/></transactions>'
CONNECTIONS = int(os.environ.get("PGBOURSE_FAULT_CONNECTIONS", "10000"))


class Watched:
    """A gateway with something to trade, and the memory that it has needed since it was ready."""

    def __init__(self, process: GatewayProcess) -> None:
        self.address = process.address
        assert process.process is not None
        self.process = psutil.Process(process.process.pid)
        self.ask(CREATE)
        self.ask(ORDER)
        self._before = self.process.memory_info().rss

    def ask(self, document: bytes) -> list[str]:
        """Be another client for a moment: get the names of the results."""
        with WireClient(self.address) as client:
            return [str(child.tag) for child in client.ask(document)]

    def assert_serves(self) -> None:
        assert self.ask(ORDER) == ["opened"]

    def grown(self) -> int:
        """Bytes of memory that it has at most had more than when it was ready."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():  # not Linux: what it has now
            return self.process.memory_info().rss - self._before
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024 - self._before


@pytest.fixture
def watched(start_gateway: StartGateway, database: str) -> Watched:
    return Watched(start_gateway("--database-url", database, "--max-connections", str(CONNECTIONS)))


@pytest.fixture
def sockets() -> Iterator[contextlib.ExitStack]:
    """Sockets that the test opens, closed in its end."""
    with contextlib.ExitStack() as stack:
        yield stack


def connect(watched: Watched, sockets: contextlib.ExitStack) -> socket.socket:
    return sockets.enter_context(socket.create_connection(watched.address, 60))


def test_as_many_connections_as_may_be_hold_halves_of_requests(
    watched: Watched, sockets: contextlib.ExitStack
) -> None:
    allow_open_files(CONNECTIONS)
    for _ in range(CONNECTIONS - 1):
        connect(watched, sockets).sendall(b"1000\n<transactions")
    for _ in range(20):
        watched.assert_serves()
    assert len(watched.process.net_connections("tcp")) >= CONNECTIONS
    assert watched.grown() < 5_000 * CONNECTIONS + 10 * MB  # Python's objects for a connection take 3 kB


def test_halves_of_large_documents_are_bounded_in_all(
    watched: Watched, sockets: contextlib.ExitStack
) -> None:
    half = b"8000000\n" + b" " * 6_000_000
    refused = 0
    for _ in range(60):  # 360 MB, of which 256 may be held
        client = connect(watched, sockets)
        with contextlib.suppress(ConnectionError):
            client.sendall(half)
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            refused += b"too many large requests" in client.recv(1000)
    watched.assert_serves()
    assert refused
    assert watched.grown() < 400 * MB


def test_clients_that_read_nothing_hold_little(watched: Watched, sockets: contextlib.ExitStack) -> None:
    """Each asks for as much as the gateway takes, and takes nothing of what it says."""
    document = length_line(b'<transactions id="1">' + b"<query/>" * 2_000 + b"</transactions>")
    for _ in range(30):
        client = sockets.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(watched.address)
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError):  # it is no longer read from
            for _ in range(1_000):
                client.sendall(document)
        watched.assert_serves()
    assert watched.grown() < 100 * MB  # 30 times 256 kB and a batch's replies


def test_sockets_that_vanish_leave_nothing_behind(watched: Watched) -> None:
    watched.assert_serves()
    before = watched.process.num_fds()
    endings = ("close", "reset", "half-close", "half-close and reset")
    stories = [b"", b"1000\n<transactions", length_line(ORDER), ORDER * 3 + b"<trans", b"abc", b"\xff" * 5000]
    for story in stories * 25:
        for ending in endings:
            with socket.create_connection(watched.address, 60) as client:
                client.sendall(story)
                with contextlib.suppress(OSError):  # it may have closed by itself
                    if "half-close" in ending:
                        client.shutdown(socket.SHUT_WR)
                if "reset" in ending:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    watched.assert_serves()
    # A few may be database sessions, which begin when one is needed. Each way to vanish came 25 times.
    wait_until(lambda: watched.process.num_fds() < before + 10, "all of them are forgotten")


NUMBER = b"9" * 1_000_000
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
DOCUMENTS = {
    "billion laughs": f'<!DOCTYPE create [<!ENTITY l0 "ha">{LAUGHS}]><create>&l11;</create>'.encode(),
    "quadratic blowup": b'<!DOCTYPE create [<!ENTITY a "%s">]><create>%s</create>' % (b"a" * MB, b"&a;" * MB),
    "external entity": b'<!DOCTYPE create [<!ENTITY a SYSTEM "file:///etc/passwd">]><create>&a;</create>',
    "external subset": b'<!DOCTYPE create SYSTEM "http://127.0.0.1:1/x.dtd"><create/>',
    "parameter entity": b'<!DOCTYPE create [<!ENTITY % a SYSTEM "file:///etc/passwd">%a;]><create/>',
    "deep nesting": b"<a>" * 1_000_000,
    "deep nesting that is well-formed": b"<create>" + b"<a>" * 500_000 + b"</a>" * 500_000 + b"</create>",
    "invalid UTF-8": b'<create><account id="\xff\xfe\xc0\xaf" balance="1"/></create>',
    "NULs": b"\0" * 1_000_000,
    "a name that never ends": b"<create><" + b"a" * 7_000_000 + b"/></create>",
    "a long name": b"<create><" + b"a" * 40_000 + b"/></create>",
    "many attributes": b"<create><account "
    + b" ".join(b'a%d="1"' % n for n in range(400_000))
    + b"/></create>",
    "many attributes among many tags": b"<create><account "
    + b" ".join(b'a%d="1"' % n for n in range(80_000))
    + b">"
    + b"<b/>" * 9_000
    + b"</account></create>",
    "an unknown element of many with attributes": b"<transactions id='1'><symbol>"
    + 180_000 * b'<x a="" b="" c="" d="" e="" f="" g="" h=""/>'
    + b"</symbol></transactions>",
    "many namespaces": b"<create><a "
    + b" ".join(b'xmlns:a%d="u"' % n for n in range(200_000))
    + b"/></create>",
    "a long comment": b"<create><!--" + b" <a>" * 1_500_000 + b"--></create>x",
    "a balance of a million digits": b'<create><account id="9" balance="%s"/></create>' % NUMBER,
    "an account id of a million digits": b'<create><account id="%s" balance="1"/></create>' % NUMBER,
    "shares of a million digits": b'<create><symbol sym="X"><account id="1">%s</account></symbol></create>'
    % NUMBER,
    "an amount of a million digits": b'<transactions id="1"><order sym="X" amount="%s" limit="1"/>'
    b"</transactions>" % NUMBER,
    "a limit of a million digits": b'<transactions id="1"><order sym="X" amount="1" limit="0.%s"/>'
    b"</transactions>" % NUMBER,
    "an order id of a million digits": b'<transactions id="1"><query id="%s"/></transactions>' % NUMBER,
    "an account of a million digits": b'<transactions id="%s"><query id="1"/></transactions>' % NUMBER,
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_hostile_document_gets_an_error_and_the_connection_goes_on(
    watched: Watched, document: bytes
) -> None:
    with WireClient(watched.address) as client:
        client.send(document, ORDER)
        reply = client.reply()
        assert [child.tag for child in reply] == ["error"]
        assert len(reply[0].text or "") < 1000  # however long what it complains of
        assert client.reply()[0].tag == "opened"
    watched.assert_serves()
    # A few times the document, which is 8 MB at most; expanded, it would be gigabytes.
    assert watched.grown() < 20 * len(document) + 40 * MB


def test_names_that_clients_invent_are_forgotten(watched: Watched) -> None:
    with WireClient(watched.address) as client:
        for document in range(50):
            names = range(document * 5_000, (document + 1) * 5_000)
            reply = client.ask(
                b"<create>"
                + b"".join(b'<name-of-%d of-%d="1"/>' % (name, name) for name in names)
                + b"</create>"
            )
            assert len(reply) == 5_000
    watched.assert_serves()
    assert watched.grown() < 30 * MB  # half a million names of 12 bytes have passed


def test_as_many_children_as_a_document_may_have_are_all_answered(watched: Watched) -> None:
    with WireClient(watched.address) as client:
        reply = client.ask(b"<create>" + b"<a/>" * MAX_CHILDREN + b"</create>")
        assert len(reply) == MAX_CHILDREN
        assert {child.tag for child in reply} == {"error"}
        for count in (MAX_CHILDREN + 1, 2_000_000):
            reply = client.ask(b"<create>" + b"<a/>" * count + b"</create>")
            assert reply[0].text == "the document has more than 250000 children: split it"
            assert len(reply) == 1
    watched.assert_serves()
    assert watched.grown() < 250 * MB


LENGTHS = {
    "digits without end": (b"9" * 5_000_000, "a length line can't begin with"),
    "length line": (b"99999999999\n" + ORDER, "a document of 99999999999 bytes is over the limit"),
    "binary length": (b"\xff\xff\xff\x7f\n" + ORDER, "a request can't begin with"),
    "bare": (ORDER[:-1] + b" " * 9_000_000, "a document of more than 8388608 bytes is over the limit"),
}


@pytest.mark.parametrize(("stream", "words"), LENGTHS.values(), ids=LENGTHS.keys())
def test_a_wrong_length_is_told_and_ends_the_connection(watched: Watched, stream: bytes, words: str) -> None:
    with WireClient(watched.address) as client:
        with contextlib.suppress(ConnectionError):  # it may close before it has read all
            client.send_raw(stream)
        (error,) = client.reply()
        assert error.tag == "error"
        assert words in (error.text or "")
        assert client.is_closed()
    watched.assert_serves()
    assert watched.grown() < 20 * MB


INJECTIONS = [
    "1'; drop table exchange.orders; --",
    "1') or ('1'='1",
    "1, (select version())",
    "{1,2}",
    '"} , {"',
    "NULL",
    "\\",
    "$1",
    "%s",
    "1; select pg_sleep(1000)",
    "\\x27 or 1=1",
    "\u0661",  # a digit in Unicode, but not here
]
PLACES = [
    '<create><account id="{}" balance="1"/></create>',
    '<create><account id="9" balance="{}"/></create>',
    '<create><symbol sym="{}"><account id="1">1</account></symbol></create>',
    '<create><symbol sym="X"><account id="{}">1</account></symbol></create>',
    '<create><symbol sym="X"><account id="1">{}</account></symbol></create>',
    '<transactions id="{}"><query id="1"/></transactions>',
    '<transactions id="1"><order sym="{}" amount="1" limit="1"/></transactions>',
    '<transactions id="1"><order sym="X" amount="{}" limit="1"/></transactions>',
    '<transactions id="1"><order sym="X" amount="1" limit="{}"/></transactions>',
    '<transactions id="1"><query id="{}"/></transactions>',
    '<transactions id="1"><cancel id="{}"/></transactions>',
]


def test_sql_in_any_place_is_a_value_that_is_not_allowed(watched: Watched, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        tables = "select relname, n_tup_ins from pg_stat_user_tables order by 1"
        names = [row[0] for row in session.execute(tables)]
        with WireClient(watched.address) as client:
            for place in PLACES:
                for injection in INJECTIONS:
                    if 'sym="{}"' in place and injection == "NULL":
                        continue  # a good name for a symbol
                    escaped = injection.replace('"', "&quot;").replace("<", "&lt;")
                    reply = client.ask(place.format(escaped).encode())
                    assert [child.tag for child in reply] == ["error"], (place, injection)
        assert [row[0] for row in session.execute(tables)] == names
        assert session.execute("select count(*) from exchange.accounts").fetchone() == (2,)
        assert session.execute("select count(*) from exchange.orders").fetchone() == (1,)
        assert integrity(session) == []


def test_a_symbol_may_be_called_null(watched: Watched) -> None:
    assert watched.ask(b'<create><symbol sym="NULL"><account id="1">5</account></symbol></create>') == [
        "created"
    ]
    order = b'<transactions id="1"><order sym="NULL" amount="-5" limit="1"/></transactions>'
    assert watched.ask(order) == ["opened"]


@pytest.mark.parametrize("action", ["query", "cancel"])
def test_an_order_of_another_account_is_no_order(watched: Watched, action: str) -> None:
    with WireClient(watched.address) as client:
        mine = client.ask(ORDER)[0].get("id")
        reply = client.ask(
            f'<transactions id="2"><{action} id="{mine}"/><{action} id="987654321"/></transactions>'.encode()
        )
        assert [child.tag for child in reply] == ["error", "error"]
        assert [child.text for child in reply] == [f"no such order: {mine}", "no such order: 987654321"]
        status = client.ask(f'<transactions id="1"><query id="{mine}"/></transactions>'.encode())[0]
        assert [part.tag for part in status] == ["open"]
